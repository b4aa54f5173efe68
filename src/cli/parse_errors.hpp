// SPDX-License-Identifier: Apache-2.0
/// @file
/// Errors in the words of a command line, as sentences of this program.
#pragma once

#include <CLI/CLI.hpp>
#include <span>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Refuses `--json=5`, which CLI11 would accept although the flag takes no value.
/// @param words  of the command line, without the program's name
/// @throws InvalidArgument
void refuse_values_of_flags(const CLI::App& program, std::span<const char* const> words);

/// Throws InvalidArgument for an error that CLI11 found while it parsed the command line.
[[noreturn]] void throw_parse_error(const CLI::App& program, const CLI::ParseError& error);

}  // namespace tapedeck::cli
