// SPDX-License-Identifier: Apache-2.0
/// @file
/// Errors in the words of a command line, as sentences of this program.
#pragma once

#include <CLI/CLI.hpp>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Throws InvalidArgument for an error that CLI11 found while it parsed the command line.
[[noreturn]] void throw_parse_error(const CLI::App& program, const CLI::ParseError& error);

}  // namespace tapedeck::cli
