// SPDX-License-Identifier: Apache-2.0
/// @file
/// The subcommands. Each function adds one to the program. When all arguments have been parsed, the
/// selected subcommand runs, and sets the exit code or throws.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// The name of an operand that is the name of a command.
inline constexpr const char* kCommandOperand = "COMMAND";

/// Makes `--help` of each command that is added from now on end with its exit codes.
void format_help(CLI::App& program);
/// Lets each operand `kCommandOperand` take the name of any command that has been added.
void offer_commands(CLI::App& program);
/// "tapedeck 0.1.0".
[[nodiscard]] std::string version_line();

void add_completion(CLI::App& program, int& exit_code);
void add_decode(CLI::App& program, int& exit_code);
void add_fit(CLI::App& program, int& exit_code);
void add_gpus(CLI::App& program, int& exit_code);
void add_help(CLI::App& program, int& exit_code);
void add_make_model(CLI::App& program, int& exit_code);
void add_man(CLI::App& program, int& exit_code);
void add_plan(CLI::App& program, int& exit_code);
void add_report(CLI::App& program, int& exit_code);
void add_resident(CLI::App& program, int& exit_code);
void add_show(CLI::App& program, int& exit_code);
void add_top(CLI::App& program, int& exit_code);
void add_version(CLI::App& program, int& exit_code);
void add_warm(CLI::App& program, int& exit_code);

}  // namespace tapedeck::cli
