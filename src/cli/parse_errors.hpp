// SPDX-License-Identifier: Apache-2.0
/// @file
/// Errors in the words of a command line, as sentences of this program.
#pragma once

#include <CLI/CLI.hpp>
#include <span>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Refuses what CLI11 would accept: a value of a flag that takes none (--json=5), and an option
/// with = but no value, such as --publish=$NAME if NAME is not set. CLI11 treats that like the
/// option without =, which may then take the next word as its value.
/// @param words  of the command line, without the program's name
/// @throws InvalidArgument
void refuse_misused_values(const CLI::App& program, std::span<const char* const> words);

/// Throws InvalidArgument for an error that CLI11 found while it parsed the command line.
[[noreturn]] void throw_parse_error(const CLI::App& program, const CLI::ParseError& error);

}  // namespace tapedeck::cli
