// SPDX-License-Identifier: Apache-2.0
/// @file
/// The exit codes of the program. `--help` and the manual pages are generated from their table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

inline constexpr int kFailed = 2;
inline constexpr int kNothingFits = 3;    ///< Of `fit`; also if this is unknown.
inline constexpr int kOverBudget = 3;     ///< Of `warm`.
inline constexpr int kNotBounded = 4;     ///< Of `plan --check` and `fit --check`.
inline constexpr int kPastDeadline = 4;   ///< Of `warm`.
inline constexpr int kInterrupted = 130;  ///< The exit code that shells report for SIGINT.
inline constexpr int kPipeClosed = 141;   ///< The exit code that shells report for SIGPIPE.

struct ExitCode {
  std::string_view command;  ///< Empty if every command may return it.
  int code = 0;
  const char* when;  ///< A clause: "the deadline passed".
};

/// The exit codes of a command in ascending order, including those of every command. All codes of
/// all commands for "".
[[nodiscard]] std::vector<ExitCode> exit_codes_of(std::string_view command);

/// "Exit codes: 3 if there is too little memory, 4 if the deadline passed." Empty for a command
/// that returns only what every command may return.
[[nodiscard]] std::string exit_codes_text(std::string_view command);

}  // namespace tapedeck::cli
