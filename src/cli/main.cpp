// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/nearest_name.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/base/version.hpp"

namespace tapedeck::cli {
namespace {

constexpr int kFailed = 2;

[[noreturn]] void throw_no_subcommand(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  const std::string all = fmt::format("{}", fmt::join(names, ", "));
  const std::vector<std::string> given = program.remaining();
  if (given.empty()) {
    throw InvalidArgument("a subcommand is required: " + all,
                          "tapedeck --help describes each of them");
  }
  const std::string& word = given.front();
  if (word.starts_with('-')) {
    throw InvalidArgument({.argument = word}, "unknown option " + word,
                          "an option of a subcommand comes after the subcommand");
  }
  const std::optional<std::string> nearest = nearest_name(word, names);
  throw InvalidArgument({.argument = word}, "unknown subcommand " + word,
                        nearest ? "did you mean " + *nearest + "?" : "the subcommands are " + all);
}

// Names the first option that the subcommand does not have, or else the first word too many.
[[noreturn]] void throw_unexpected(const CLI::App& program) {
  const CLI::App& command = *program.get_subcommands().front();
  const std::vector<std::string> words = program.remaining(true);
  const auto option = std::find_if(words.begin(), words.end(),
                                   [](const std::string& word) { return word.starts_with('-'); });
  const std::string& word = option == words.end() ? words.front() : *option;
  const std::string help = "tapedeck " + command.get_name() + " --help describes its arguments";
  if (option == words.end()) {
    throw InvalidArgument({.argument = word}, "unexpected argument " + word, help);
  }
  std::vector<std::string> names;
  for (const CLI::Option* known : options_of(command)) {
    for (const std::string& name : names_of(*known)) names.push_back(name);
  }
  const std::optional<std::string> nearest = nearest_name(word, names);
  throw InvalidArgument({.argument = word}, "unknown option " + word,
                        nearest ? "did you mean " + *nearest + "?" : help);
}

int run(int argc, const char* const* argv) {
  CLI::App program("Plans the memory of language models, warms it, and decodes with it.",
                   "tapedeck");
  program.set_version_flag(
      "--version", fmt::format("tapedeck {}.{}.{}", TAPEDECK_VERSION_MAJOR, TAPEDECK_VERSION_MINOR,
                               TAPEDECK_VERSION_PATCH));
  program.require_subcommand(1);
  int exit_code = 0;
  for (const auto add : {add_plan, add_fit, add_show, add_warm, add_resident, add_decode,
                         add_make_model, add_gpus, add_top, add_report, add_completion, add_man}) {
    add(program, exit_code);
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help) {
    std::ostringstream text;
    exit_code = program.exit(help, text);
    Output().write(text.str());
  } catch (const CLI::ExtrasError&) {
    throw_unexpected(program);
  } catch (const CLI::RequiredError&) {
    if (program.get_subcommands().empty()) throw_no_subcommand(program);
    throw;
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
    cli::tell("tapedeck: out of memory\n");
  } catch (const std::exception& error) {
    cli::tell_error(error.what());
  }
  return cli::kFailed;
}
