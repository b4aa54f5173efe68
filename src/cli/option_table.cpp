// SPDX-License-Identifier: Apache-2.0
#include "cli/option_table.hpp"

#include <algorithm>
#include <cstddef>
#include <sstream>

namespace tapedeck::cli {
namespace {

std::vector<const CLI::Option*> shown(const CLI::App& command, bool operands) {
  return command.get_options([=](const CLI::Option* option) {
    return option->get_positional() == operands && !option->get_group().empty();
  });
}

// The text between two delimiters in the type of an option, to which CLI11 appends the description
// of each validator: "TEXT:{on,off}", "UINT:UINT in [1 - 1024]".
std::string between(const CLI::Option& option, const std::string& begin, char end) {
  const std::string type = option.get_type_name();
  const std::size_t at = type.find(begin);
  if (at == std::string::npos) return {};
  const std::size_t first = at + begin.size();
  return type.substr(first, type.find(end, first) - first);
}

}  // namespace

std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  return shown(command, false);
}

std::vector<const CLI::Option*> operands_of(const CLI::App& command) {
  return shown(command, true);
}

std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

std::string value_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return {};
  if (!option.get_option_text().empty()) return option.get_option_text();
  const std::string type = option.get_type_name();
  return type.substr(0, type.find(':'));
}

bool has_optional_value(const CLI::Option& option) {
  const std::vector<std::string>& flags = option.get_fnames();
  return std::any_of(flags.begin(), flags.end(), [&](const std::string& name) {
    const std::string value = option.get_flag_value(name, "");
    return value != "true" && value != "false";
  });
}

std::vector<std::string> choices_of(const CLI::Option& option) {
  std::vector<std::string> choices;
  std::istringstream all(between(option, ":{", '}'));
  for (std::string choice; std::getline(all, choice, ',');) choices.push_back(choice);
  return choices;
}

bool lists_choices(const CLI::Option& option) {
  const std::vector<std::string> choices = choices_of(option);
  return !choices.empty() && value_of(option) == CLI::detail::join(choices, "|");
}

std::string range_of(const CLI::Option& option) { return between(option, " in [", ']'); }

bool is_repeatable(const CLI::Option& option) {
  return option.get_trigger_on_parse() || option.get_expected_max() > 1;
}

}  // namespace tapedeck::cli
