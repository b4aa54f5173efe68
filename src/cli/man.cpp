// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "os/new_file.hpp"
#include "tapedeck/base/version.hpp"

namespace tapedeck::cli {
namespace {

constexpr const char* kEnvironment = R"(.SH ENVIRONMENT
.TP
.B TERM
The type of the terminal.
.B tapedeck top
prints lines instead of a screen that it redraws if this variable is unset, empty or
.BR dumb .
)";

struct Example {
  const char* what;
  const char* line;
};

constexpr std::array<Example, 6> kExamples = {{
    {"Plan the memory of a model for a context of 32768 tokens:",
     "tapedeck plan MODEL --context 32768 --kv q8_0"},
    {"Rank the ways to run it with 24 GiB of GPU memory:", "tapedeck fit MODEL --gpu-memory 24GiB"},
    {"Bring its files into the page cache, in at most a minute:",
     "tapedeck warm MODEL --deadline 60"},
    {"Continue a prompt, and show the state of the memory meanwhile:",
     "tapedeck decode MODEL -p Once -n 64 --stat"},
    {"Record the memory of a conversation:", "tapedeck decode MODEL -p Once --record talk.jsonl"},
    {"Turn the recording into an HTML page:", "tapedeck report talk.jsonl -o talk.html"},
}};

// A text as troff prints it literally. Code between backquotes becomes bold, and an empty line
// begins a paragraph.
std::string roff(std::string_view text) {
  std::string out;
  bool code = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins_line = i == 0 || text[i - 1] == '\n';
    switch (text[i]) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      case '`':
        code = !code;
        out += code ? "\\fB" : "\\fR";
        break;
      case '\n':
        out += begins_line ? ".PP\n" : "\n";
        break;
      case '.':
      case '\'':
        out += begins_line ? "\\&" : "";
        [[fallthrough]];
      default:
        out += text[i];
    }
  }
  return out;
}

std::string bold(std::string_view text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + roff(text) + "\\fR"; }

// "-p, --prompt TEXT", or the name of an operand.
std::string heading(const CLI::Option& option) {
  if (option.get_positional()) return italic(option.get_name(true));
  std::string text;
  for (const std::string& name : names_of(option)) text += (text.empty() ? "" : ", ") + bold(name);
  if (has_optional_value(option)) return text + "[=" + italic("VALUE") + "]";
  const std::string value = value_of(option);
  if (value.empty()) return text;
  return text + " " + (lists_choices(option) ? bold(value) : italic(value));
}

// Sorted, because CLI11 keeps the options by their addresses.
std::string list_of(const std::set<CLI::Option*>& options) {
  std::set<std::string> names;
  for (const CLI::Option* option : options) names.insert(option->get_name());
  return fmt::format("{}", fmt::join(names, ", "));
}

// What the table knows of an option and its description need not repeat.
std::string facts(const CLI::Option& option) {
  const std::string range = range_of(option);
  std::vector<std::string> facts;
  // The heading of an operand is its name, and that of most options is the list of choices.
  if (!choices_of(option).empty() && (option.get_positional() || !lists_choices(option))) {
    const bool is_list = value_of(option).find(',') != std::string::npos;
    facts.push_back(fmt::format("{}: {}.", is_list ? "Each one of" : "One of",
                                fmt::join(choices_of(option), ", ")));
  }
  if (!range.empty()) facts.push_back("Range: " + range + ".");
  if (!option.get_default_str().empty()) {
    facts.push_back("Default: " + option.get_default_str() + ".");
  }
  if (option.get_required() && !option.get_positional()) facts.emplace_back("Required.");
  if (!option.get_needs().empty()) facts.push_back("Requires " + list_of(option.get_needs()) + ".");
  if (!option.get_excludes().empty()) {
    facts.push_back("Excludes " + list_of(option.get_excludes()) + ".");
  }
  return fmt::format("{}", fmt::join(facts, " "));
}

std::string options_text(const char* title, const std::vector<const CLI::Option*>& options) {
  if (options.empty()) return {};
  std::string text = fmt::format(".SH {}\n", title);
  for (const CLI::Option* option : options) {
    text += ".TP\n" + heading(*option) + "\n" + roff(option->get_description()) + "\n";
    const std::string more = facts(*option);
    if (!more.empty()) text += ".br\n" + roff(more) + "\n";
  }
  return text;
}

std::string commands_text(const std::vector<const CLI::App*>& commands) {
  if (commands.empty()) return {};
  std::string text = ".SH COMMANDS\n";
  for (const CLI::App* command : commands) {
    text += ".TP\n" + bold("tapedeck " + command->get_name()) + "\n" +
            roff(command->get_description()) + "\n";
  }
  return text;
}

std::string synopsis(const CLI::App& command, const std::string& words) {
  std::string text = bold(words) + " [" + italic("OPTION") + "]...";
  for (const CLI::Option* operand : operands_of(command)) {
    const std::string name = italic(operand->get_name(true));
    text += operand->get_required() ? " " + name : " [" + name + "]";
  }
  if (!command.get_subcommands({}).empty()) {
    text += " " + italic("COMMAND") + " [" + italic("ARGUMENT") + "]...";
  }
  return text;
}

// The page of the program, whose name is "", also names the commands.
std::string exit_status(std::string_view command) {
  std::string text = ".SH EXIT STATUS\n";
  for (const ExitCode& one : exit_codes_of(command)) {
    std::string when = one.when;
    when[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(when[0])));
    if (command.empty() && !one.command.empty()) when += fmt::format(" (tapedeck {})", one.command);
    text += fmt::format(".TP\n{}\n{}.\n", one.code, roff(when));
  }
  return text;
}

std::string examples() {
  std::string text = ".SH EXAMPLES\n";
  const char* before = "";
  for (const auto& [what, line] : kExamples) {
    text += fmt::format("{}{}\n.PP\n.RS 4\n.EX\n{}\n.EE\n.RE\n", before, roff(what), roff(line));
    before = ".PP\n";
  }
  return text;
}

// The first sentence of a description, as apropos(1) lists it: "ranks the ways to run a model".
std::string summary(const CLI::App& command) {
  std::string text = command.get_description();
  text = text.substr(0, text.find(". "));
  if (text.ends_with('.')) text.pop_back();
  const auto is_upper = [&](std::size_t i) {
    return i < text.size() && std::isupper(static_cast<unsigned char>(text[i])) != 0;
  };
  if (is_upper(0) && !is_upper(1)) text[0] = static_cast<char>(text[0] - 'A' + 'a');
  return text;
}

std::string page_name(const CLI::App& command) {
  return (command.get_parent() == nullptr ? "" : "tapedeck-") + command.get_name();
}

std::string see_also(const CLI::App& command) {
  std::vector<std::string> names;
  if (command.get_parent() != nullptr) names.push_back(page_name(*command.get_parent()));
  for (const CLI::App* other : command.get_subcommands({})) names.push_back(page_name(*other));
  std::string text = ".SH SEE ALSO\n";
  for (const std::string& name : names) {
    text += ".BR " + roff(name) + (name == names.back() ? " (1)\n" : " (1),\n");
  }
  return text;
}

// Without a date, so that the same sources always make the same page.
std::string man_page(const CLI::App& command) {
  const bool is_program = command.get_parent() == nullptr;
  std::string words = page_name(command);
  std::string title = roff(words);
  std::transform(title.begin(), title.end(), title.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string page =
      fmt::format(".TH {} 1 \"\" \"tapedeck {}.{}.{}\" \"User Commands\"\n", title,
                  TAPEDECK_VERSION_MAJOR, TAPEDECK_VERSION_MINOR, TAPEDECK_VERSION_PATCH);
  page += ".SH NAME\n" + roff(words + " - " + summary(command)) + "\n";
  if (!is_program) words = "tapedeck " + command.get_name();
  page += ".SH SYNOPSIS\n" + synopsis(command, words) + "\n";
  page += ".SH DESCRIPTION\n" + roff(command.get_description()) + "\n";
  const std::string footer = command.get_footer();
  if (!footer.empty()) page += ".PP\n" + roff(footer) + "\n";
  page += commands_text(command.get_subcommands({}));
  page += options_text("OPERANDS", operands_of(command));
  page += options_text("OPTIONS", options_of(command));
  page += exit_status(is_program ? "" : command.get_name());
  if (is_program) page += kEnvironment + examples();
  return page + see_also(command);
}

void write_pages(const CLI::App& program, const std::filesystem::path& folder) {
  std::vector<const CLI::App*> commands = program.get_subcommands({});
  commands.push_back(&program);
  for (const CLI::App* command : commands) {
    const std::string page = man_page(*command);
    internal::NewFile file(folder / (page_name(*command) + ".1"));
    file.write(std::as_bytes(std::span(page)));
    file.put_in_place();
  }
}

struct ManArguments {
  std::string command;
  std::string folder;
};

}  // namespace

void add_man(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("man", "Prints the manual page of the program or of a command.");
  command->footer("The page is roff source: `tapedeck man plan | man -l -` displays one.");
  auto arguments = std::make_shared<ManArguments>();
  CLI::Option* which = command->add_option(kCommandOperand, arguments->command,
                                           "The command [the program as a whole]");
  as_path(command->add_option("--folder", arguments->folder,
                              "Write all pages to files in this folder instead, replacing those"
                              " that are in it"),
          kFolder)
      ->excludes(which);
  command->callback([arguments, &program, &exit_code] {
    if (!arguments->folder.empty()) {
      write_pages(program, arguments->folder);
    } else {
      Output().write(man_page(
          arguments->command.empty() ? program : *program.get_subcommand(arguments->command)));
    }
    exit_code = 0;
  });
}

}  // namespace tapedeck::cli
