// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"

namespace tapedeck::cli {
namespace {

enum class Shell : unsigned char { bash, zsh, fish };

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

// In single quotes, in which fish knows a backslash and the other shells know nothing.
std::string in_quotes(const std::string& text) {
  return "'" + replaced(text, "'", R"('\'')") + "'";
}
std::string in_fish_quotes(const std::string& text) {
  return "'" + replaced(replaced(text, R"(\)", R"(\\)"), "'", R"(\')") + "'";
}

bool takes_value(const CLI::Option& option) {
  return !value_of(option).empty() && !has_optional_value(option);
}

std::string join(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

std::string names_of_commands(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  return join(names);
}

std::string names_of_options(const CLI::App& command) {
  std::string names;
  for (const CLI::Option* option : options_of(command)) names += " " + join(names_of(*option));
  return names.substr(names.empty() ? 0 : 1);
}

// What _tapedeck_values sets for a value.
std::string bash_values(const CLI::Option& option) {
  const std::string value = value_of(option);
  if (value == kFile || value == kFolder || value == kLayout) return in_quotes(value);
  return in_quotes(join(choices_of(option)));
}

std::string bash_cases(const CLI::App& command, const std::string& name) {
  const auto line = [&](const std::string& word, const std::string& values) {
    return fmt::format("    {}) values={} ;;\n", in_quotes(name + " " + word), values);
  };
  std::string text = line("options", in_quotes(names_of_options(command)));
  std::size_t index = 0;
  for (const CLI::Option* operand : operands_of(command)) {
    text += line(std::to_string(index++), bash_values(*operand));
  }
  for (const CLI::Option* option : options_of(command)) {
    if (!takes_value(*option)) continue;
    for (const std::string& word : names_of(*option)) text += line(word, bash_values(*option));
  }
  return text;
}

constexpr const char* kBashBegin =
    R"(# Completion of tapedeck for bash, printed by `tapedeck completion bash`.

# Sets `values` to what completes the value of an option of a command, its operand of an index, or
# its options. Fails if it has no such value or operand.
_tapedeck_values() {
  case "$1 $2" in
)";

constexpr const char* kBashEnd = R"(    *) return 1 ;;
  esac
}

_tapedeck() {
  local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}
  local command='' values='' attached='' operands=0 i
  ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]}
  COMPREPLY=()
  # Bash makes three words of --option=value.
  if [[ $word == = ]]; then
    attached=yes word=''
  elif [[ $option == = ]]; then
    attached=yes option=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 2; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == [-=]* || ${COMP_WORDS[i - 1]} == = ]] ||
      { [[ ${COMP_WORDS[i - 1]} == -* ]] && _tapedeck_values "$command" "${COMP_WORDS[i - 1]}"; } ||
      ((++operands))
  done
  if [[ $option != -* ]] || ! _tapedeck_values "$command" "$option"; then
    [[ -z $attached ]] || return 0
    if [[ $word == -* ]]; then
      _tapedeck_values "$command" options
    else
      _tapedeck_values "$command" "$operands"
    fi || return 0
  fi
  case $values in
    FILE) compopt -o default ;;
    FOLDER) compopt -o dirnames ;;
    'PID|NAME')
      values=$("${COMP_WORDS[0]}" top --list 2> /dev/null)
      mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
      ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word") ;;
  esac
}

complete -F _tapedeck tapedeck
)";

std::string for_bash(const CLI::App& program) {
  std::string text = kBashBegin + bash_cases(program, "") +
                     fmt::format("    ' 0') values={} ;;\n", in_quotes(names_of_commands(program)));
  for (const CLI::App* command : program.get_subcommands({})) {
    text += bash_cases(*command, command->get_name());
  }
  return text + kBashEnd;
}

// "MESSAGE:ACTION", as _arguments has it.
std::string zsh_value(const CLI::Option& option, const std::string& message) {
  const std::string value = value_of(option);
  const std::vector<std::string> choices = choices_of(option);
  const std::string action = value == kFile     ? "_files"
                             : value == kFolder ? "_files -/"
                             : value == kLayout ? "{compadd -- $(tapedeck top --list 2> /dev/null)}"
                             : !choices.empty() ? "(" + join(choices) + ")"
                                                : " ";
  return replaced(message, ":", R"(\:)") + ":" + action;
}

std::string zsh_option(const CLI::Option& option) {
  const std::vector<std::string> names = names_of(option);
  std::string what = replaced(option.get_description(), R"(\)", R"(\\)");
  what = "[" + replaced(replaced(what, "[", R"(\[)"), "]", R"(\])") + "]";
  std::string before = is_repeatable(option) ? "*" : "";
  if (before.empty() && names.size() > 1) before = "(" + join(names) + ")";
  std::string text;
  for (const std::string& name : names) {
    std::string spec = before + name;
    if (has_optional_value(option)) {
      spec += "=-" + what + "::VALUE: ";
    } else if (takes_value(option)) {
      spec +=
          (name.starts_with("--") ? "=" : "+") + what + ":" + zsh_value(option, value_of(option));
    } else {
      spec += what;
    }
    text += " \\\n    " + in_quotes(spec);
  }
  return text;
}

std::string zsh_arguments(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : options_of(command)) text += zsh_option(*option);
  for (const CLI::Option* operand : operands_of(command)) {
    text += " \\\n    " + in_quotes((operand->get_required() ? ":" : "::") +
                                    zsh_value(*operand, operand->get_name(true)));
  }
  return text;
}

constexpr const char* kZshBegin = R"(#compdef tapedeck
# Completion of tapedeck for zsh, printed by `tapedeck completion zsh`.

_tapedeck() {
  local curcontext=$curcontext state ret=1
  local -a line commands
  local -A opt_args
  commands=(
)";

constexpr const char* kZshEnd = R"(  esac
  return ret
}

if [[ ${funcstack[1]} == _tapedeck ]]; then
  _tapedeck "$@"
else
  compdef _tapedeck tapedeck
fi
)";

std::string for_zsh(const CLI::App& program) {
  std::string text = kZshBegin;
  for (const CLI::App* command : program.get_subcommands({})) {
    text += "    " + in_quotes(command->get_name() + ":" + command->get_description()) + "\n";
  }
  text += "  )\n  _arguments -C" + zsh_arguments(program) +
          " \\\n    '1: :->command' '*:: :->arguments' && ret=0\n"
          "  [[ $state == command ]] && _describe -t commands command commands && ret=0\n"
          "  [[ $state == arguments ]] && case $line[1] in\n";
  for (const CLI::App* command : program.get_subcommands({})) {
    text += fmt::format("  {})\n    _arguments{} && ret=0 ;;\n", command->get_name(),
                        zsh_arguments(*command));
  }
  return text + kZshEnd;
}

// How `complete` completes a value.
std::string fish_values(const CLI::Option& option) {
  const std::string value = value_of(option);
  if (value == kFile) return "-F";
  if (value == kFolder) return "-f -a '(__fish_complete_directories)'";
  if (value == kLayout) return "-f -a '(__tapedeck_layouts)'";
  const std::vector<std::string> choices = choices_of(option);
  return choices.empty() ? "-f" : "-f -a " + in_fish_quotes(join(choices));
}

std::string fish_options(const CLI::App& command, const std::string& name) {
  std::string text;
  for (const CLI::Option* option : options_of(command)) {
    text += fmt::format("complete -c tapedeck -n {}",
                        in_fish_quotes("__tapedeck_command " + in_fish_quotes(name)));
    for (const std::string& letter : option->get_snames()) text += " -s " + letter;
    for (const std::string& word : option->get_lnames()) text += " -l " + word;
    if (takes_value(*option)) text += " -r " + fish_values(*option);
    text += " -d " + in_fish_quotes(option->get_description()) + "\n";
  }
  return text;
}

std::string fish_operands(const CLI::App& command) {
  std::string taking;
  for (const CLI::Option* option : options_of(command)) {
    if (takes_value(*option)) taking += " " + join(names_of(*option));
  }
  std::string text;
  std::size_t index = 0;
  for (const CLI::Option* operand : operands_of(command)) {
    text += fmt::format("complete -c tapedeck -n '__tapedeck_operand {} {}{}' {} -d {}\n",
                        command.get_name(), index++, taking, fish_values(*operand),
                        in_fish_quotes(operand->get_description()));
  }
  return text;
}

constexpr const char* kFishBegin =
    R"(# Completion of tapedeck for fish, printed by `tapedeck completion fish`.

# Whether this command was given; '' if none was.
function __tapedeck_command -a command
    set -l words (commandline -opc)
    test "$words[2]" = "$command"
end

# Whether an operand of this index is completed. The options that take a value follow.
function __tapedeck_operand -a command index
    __tapedeck_command $command
    or return
    set -l before ''
    set -l operands 0
    for word in (commandline -opc)[3..-1]
        if not string match -q -- '-*' $word
            and not contains -- $before $argv[3..-1]
            set operands (math $operands + 1)
        end
        set before $word
    end
    test $operands -eq $index
end

# The names and process IDs of the published layouts.
function __tapedeck_layouts
    type -q tapedeck
    and tapedeck top --list 2> /dev/null
end

complete -c tapedeck -f
)";

std::string for_fish(const CLI::App& program) {
  std::string text = kFishBegin + fish_options(program, "");
  for (const CLI::App* command : program.get_subcommands({})) {
    text += fmt::format("complete -c tapedeck -n '__tapedeck_command \"\"' -a {} -d {}\n",
                        command->get_name(), in_fish_quotes(command->get_description()));
    text += fish_operands(*command) + fish_options(*command, command->get_name());
  }
  return text;
}

}  // namespace

void add_completion(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("completion", "Prints a script that completes command lines.");
  command->footer(
      "For the running shell: `source <(tapedeck completion bash)`, the same with zsh, or\n"
      "`tapedeck completion fish | source`. An installed tapedeck has the scripts in place.");
  auto shell = std::make_shared<Shell>(Shell::bash);
  CLI::Option* which = command->add_option("SHELL", *shell, "The shell")->required();
  as_choice<Shell>(which, {{"bash", Shell::bash}, {"zsh", Shell::zsh}, {"fish", Shell::fish}});
  command->callback([shell, &program, &exit_code] {
    Output().write(*shell == Shell::bash  ? for_bash(program)
                   : *shell == Shell::zsh ? for_zsh(program)
                                          : for_fish(program));
    exit_code = 0;
  });
}

}  // namespace tapedeck::cli
