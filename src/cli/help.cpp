// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "tapedeck/base/version.hpp"

namespace tapedeck::cli {
namespace {

// Ends the help of a command with its exit codes.
class HelpFormatter : public CLI::Formatter {
 public:
  [[nodiscard]] std::string make_footer(const CLI::App* app) const override {
    const bool is_command = app->get_parent() != nullptr;
    const std::string codes = is_command ? exit_codes_text(app->get_name()) : "";
    return CLI::Formatter::make_footer(app) + codes + (codes.empty() ? "" : "\n");
  }
};

std::string help_of(const CLI::App& app) {
  const CLI::App* const parent = app.get_parent();
  const std::string words = (parent == nullptr ? "" : parent->get_name() + " ") + app.get_name();
  return app.get_formatter()->make_help(&app, words, CLI::AppFormatMode::Normal);
}

}  // namespace

std::string version_line() {
  return fmt::format("tapedeck {}.{}.{}", TAPEDECK_VERSION_MAJOR, TAPEDECK_VERSION_MINOR,
                     TAPEDECK_VERSION_PATCH);
}

void format_help(CLI::App& program) { program.formatter(std::make_shared<HelpFormatter>()); }

void add_help(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand("help", "Prints what --help prints.");
  auto name = std::make_shared<std::string>();
  command->add_option(kCommandOperand, *name, "The command [the program as a whole]");
  command->callback([name, &program, &exit_code] {
    Output().write(help_of(name->empty() ? program : *program.get_subcommand(*name)));
    exit_code = 0;
  });
}

void add_version(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand("version", "Prints the version of the program.");
  command->callback([&exit_code] {
    Output().write(version_line() + "\n");
    exit_code = 0;
  });
}

void offer_commands(CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  for (CLI::App* command : program.get_subcommands({})) {
    CLI::Option* const operand = command->get_option_no_throw(kCommandOperand);
    if (operand != nullptr) operand->check(one_of(names))->option_text("NAME");
  }
}

}  // namespace tapedeck::cli
