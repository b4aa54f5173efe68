// SPDX-License-Identifier: Apache-2.0
#include "cli/parse_errors.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/nearest_name.hpp"
#include "cli/option_table.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::cli {
namespace {

// The texts of CLI11 that hold the names and values of an error, which it does not give otherwise.
constexpr std::string_view kIsRequired = " is required";
constexpr std::string_view kRequires = " requires ";
constexpr std::string_view kExcludes = " excludes ";
constexpr std::string_view kColon = ": ";
constexpr std::string_view kEquals = " = ";
constexpr std::string_view kAtMost = "At Most";

// The parts of a text before and behind a separator; the second is empty if there is none.
std::pair<std::string, std::string> split(const std::string& text, std::string_view separator) {
  const std::size_t at = text.find(separator);
  if (at == std::string::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + separator.size())};
}

[[noreturn]] void throw_about(const std::string& name, const std::string& message,
                              const std::string& advice) {
  throw InvalidArgument({.argument = name}, message, advice);
}

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
    throw_about(word, "unknown option " + word,
                "an option of a subcommand comes after the subcommand");
  }
  const std::optional<std::string> nearest = nearest_name(word, names);
  throw_about(word, "unknown subcommand " + word,
              nearest ? "did you mean " + *nearest + "?" : "the subcommands are " + all);
}

// Names the first option that the subcommand does not have, or else the first word too many.
[[noreturn]] void throw_unexpected(const CLI::App& program, const CLI::App& command,
                                   const std::string& help) {
  std::vector<std::string> words = program.remaining(true);
  if (words.size() > 1) std::erase(words, "--");
  const auto option = std::find_if(words.begin(), words.end(),
                                   [](const std::string& word) { return word.starts_with('-'); });
  const std::string& word = option == words.end() ? words.front() : *option;
  if (option == words.end()) throw_about(word, "unexpected argument " + word, help);
  std::vector<std::string> names;
  for (const CLI::Option* known : options_of(command)) {
    for (const std::string& name : names_of(*known)) names.push_back(name);
  }
  const std::optional<std::string> nearest = nearest_name(word, names);
  throw_about(word, "unknown option " + word, nearest ? "did you mean " + *nearest + "?" : help);
}

// An option without its value, or with more values than it takes.
[[noreturn]] void throw_mismatch(const CLI::App& command, const std::string& text) {
  const std::string name = split(text, kColon).first;
  if (text.find(kAtMost) != std::string::npos) {
    throw_about(name, name + " was given more than once", "give it once");
  }
  const CLI::Option* const option = command.get_option_no_throw(name);
  throw_about(name, name + " needs a value",
              option == nullptr ? "" : "write " + name + " " + value_of(*option));
}

// Whether the next word is the value of this one.
bool takes_next_word(const CLI::App& command, const std::string& word) {
  const CLI::Option* const option =
      word.starts_with('-') ? command.get_option_no_throw(word) : nullptr;
  return option != nullptr && option->get_items_expected_max() != 0;
}

void refuse_misused_value(const CLI::App& command, const std::string& word) {
  const std::size_t equals = word.find('=');
  if (!word.starts_with('-') || equals == std::string::npos) return;
  const std::string name = word.substr(0, equals);
  const CLI::Option* const option = command.get_option_no_throw(name);
  if (option == nullptr) return;
  if (value_of(*option).empty() && !has_optional_value(*option)) {
    throw_about(name, name + " takes no value", "leave out " + word.substr(equals));
  }
  if (equals + 1 == word.size()) {
    throw_about(name, name + " has an empty value", "leave the = out, or give a value");
  }
}

}  // namespace

void refuse_misused_values(const CLI::App& program, std::span<const char* const> words) {
  const CLI::App* command = &program;
  bool is_value = false;
  for (const std::string word : words) {
    if (word == "--") return;  // operands follow
    if (command == &program && !word.starts_with('-')) {
      const std::vector<const CLI::App*> all = program.get_subcommands({});
      const auto found = std::ranges::find(all, word, &CLI::App::get_name);
      if (found == all.end()) return;
      command = *found;
      continue;
    }
    if (!is_value) refuse_misused_value(*command, word);
    is_value = !is_value && takes_next_word(*command, word);
  }
}

void throw_parse_error(const CLI::App& program, const CLI::ParseError& error) {
  const std::vector<CLI::App*> selected = program.get_subcommands();
  if (selected.empty()) throw_no_subcommand(program);
  const CLI::App& command = *selected.front();
  const std::string help = "tapedeck " + command.get_name() + " --help describes its arguments";
  const std::string text = error.what();
  // The name of an ExtrasError is that of the command, unlike the names of the others.
  switch (static_cast<CLI::ExitCodes>(error.get_exit_code())) {
    case CLI::ExitCodes::ExtrasError:
      throw_unexpected(program, command, help);
    case CLI::ExitCodes::ArgumentMismatch:
      throw_mismatch(command, text);
    case CLI::ExitCodes::RequiredError: {
      const std::string name = split(text, kIsRequired).first;
      throw_about(name, name + " is missing", help);
    }
    case CLI::ExitCodes::RequiresError: {
      const auto [name, other] = split(text, kRequires);
      throw_about(name, name + " has no effect without " + other, "add " + other);
    }
    case CLI::ExitCodes::ExcludesError: {
      const auto [name, other] = split(text, kExcludes);
      throw_about(name, name + " and " + other + " exclude each other", "leave one of them out");
    }
    case CLI::ExitCodes::ConversionError: {
      const auto [name, value] = split(split(text, kColon).second, kEquals);
      throw_about(name, name + " cannot be " + value, help);
    }
    default: {
      // A validator's text continues the sentence that the name begins.
      const auto [name, fault] = split(text, kColon);
      throw_about(name, name + " " + fault, {});
    }
  }
}

}  // namespace tapedeck::cli
