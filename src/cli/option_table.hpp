// SPDX-License-Identifier: Apache-2.0
/// @file
/// Reads the table of options that the program parses with. Manual pages and shell completion are
/// generated from it, so they always agree with the program.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// The placeholders of values that are paths. Completion offers file names for them.
inline constexpr const char* kFile = "FILE";
inline constexpr const char* kFolder = "FOLDER";

/// The placeholder of a published layout. Completion offers the names and process IDs of all.
inline constexpr const char* kLayout = "PID|NAME";

/// A command's options, or its operands, in the order of `--help`.
[[nodiscard]] std::vector<const CLI::Option*> options_of(const CLI::App& command);
[[nodiscard]] std::vector<const CLI::Option*> operands_of(const CLI::App& command);

/// The names of an option: "-p", "--prompt".
[[nodiscard]] std::vector<std::string> names_of(const CLI::Option& option);

/// The placeholder of an option's value: "UINT", "SIZE", "on|off". Empty for a flag.
[[nodiscard]] std::string value_of(const CLI::Option& option);

/// Whether an option works without a value, but accepts one after "=".
[[nodiscard]] bool has_optional_value(const CLI::Option& option);

/// The values that an option takes, or those of which its value is made. Empty if it takes any.
[[nodiscard]] std::vector<std::string> choices_of(const CLI::Option& option);

/// Whether the placeholder of an option's value lists its choices: "on|off".
[[nodiscard]] bool lists_choices(const CLI::Option& option);

/// The limits of an option's number: "1 - 1024". Empty if it has none.
[[nodiscard]] std::string range_of(const CLI::Option& option);

/// Whether an option or operand may be given several times.
[[nodiscard]] bool is_repeatable(const CLI::Option& option);

}  // namespace tapedeck::cli
