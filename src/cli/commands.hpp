// SPDX-License-Identifier: Apache-2.0
/// @file
/// The subcommands. Each function adds one to the program. When all arguments have been parsed, the
/// selected subcommand runs, and sets the exit code or throws.
#pragma once

#include <CLI/CLI.hpp>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

void add_completion(CLI::App& program, int& exit_code);
void add_decode(CLI::App& program, int& exit_code);
void add_fit(CLI::App& program, int& exit_code);
void add_gpus(CLI::App& program, int& exit_code);
void add_make_model(CLI::App& program, int& exit_code);
/// After all other commands, whose pages it prints.
void add_man(CLI::App& program, int& exit_code);
void add_plan(CLI::App& program, int& exit_code);
void add_report(CLI::App& program, int& exit_code);
void add_resident(CLI::App& program, int& exit_code);
void add_show(CLI::App& program, int& exit_code);
void add_top(CLI::App& program, int& exit_code);
void add_warm(CLI::App& program, int& exit_code);

}  // namespace tapedeck::cli
