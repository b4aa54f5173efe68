// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <exception>
#include <new>
#include <span>
#include <sstream>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/parse_errors.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::cli {
namespace {

int run(int argc, const char* const* argv) {
  CLI::App program("Plans the memory of language models, warms it, and decodes with it.",
                   "tapedeck");
  format_help(program);
  program.set_version_flag("--version", version_line());
  program.require_subcommand(1);
  int exit_code = 0;
  for (const auto add :
       {add_plan, add_fit, add_show, add_warm, add_resident, add_decode, add_make_model, add_gpus,
        add_top, add_report, add_completion, add_man, add_help, add_version}) {
    add(program, exit_code);
  }
  offer_commands(program);
  const std::span words(argv, static_cast<std::size_t>(argc));
  refuse_misused_values(program, words.subspan(std::min<std::size_t>(words.size(), 1)));
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help) {
    std::ostringstream text;
    exit_code = program.exit(help, text);
    Output().write(text.str());
  } catch (const CLI::ParseError& error) {
    throw_parse_error(program, error);
  }
  return exit_code;
}

}  // namespace
}  // namespace tapedeck::cli

int main(int argc, char** argv) {
  using namespace tapedeck;
  cli::reserve_standard_streams();
  cli::end_on_interrupt();
  try {
    return cli::run(argc, argv);
  } catch (const Error& error) {
    cli::tell_error(cli::with_option_names(error.what()));
  } catch (const std::bad_alloc&) {
    cli::tell(
        "tapedeck: the program itself needs memory and gets none; free some, or raise the limit of"
        " its address space (ulimit -v)\n");
  } catch (const std::exception& error) {
    cli::tell_error(error.what());
  }
  return cli::kFailed;
}
