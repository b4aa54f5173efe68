// SPDX-License-Identifier: Apache-2.0
#include "cli/exit_codes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace tapedeck::cli {
namespace {

constexpr const char* kReaderLeft =
    "the reader of standard output closed it before the command was done";

constexpr const char* kMayNeedMore =
    "--check was given, and more memory may be needed than was planned";

// In ascending order.
constexpr std::array<ExitCode, 10> kExitCodes = {{
    {"", 0, "the command succeeded"},
    {"", kFailed, "there was an error, which a line on standard error describes"},
    {"fit", kNothingFits,
     "nothing fits, or whether anything fits is unknown because the sizes of the weights are"},
    {"warm", kOverBudget, "there is too little memory for the rest"},
    {"plan", kNotBounded, kMayNeedMore},
    {"fit", kNotBounded, kMayNeedMore},
    {"warm", kPastDeadline, "the deadline passed"},
    {"", kInterrupted,
     "it was interrupted by SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal was closed)"},
    {"decode", kPipeClosed, kReaderLeft},
    {"top", kPipeClosed, kReaderLeft},
}};

}  // namespace

std::vector<ExitCode> exit_codes_of(std::string_view command) {
  std::vector<ExitCode> codes;
  std::ranges::copy_if(kExitCodes, std::back_inserter(codes), [&](const ExitCode& one) {
    return command.empty() || one.command.empty() || one.command == command;
  });
  return codes;
}

std::string exit_codes_text(std::string_view command) {
  std::string text;
  for (const ExitCode& one : exit_codes_of(command)) {
    if (one.command.empty()) continue;
    text += fmt::format("{}{} if {}", text.empty() ? "Exit codes: " : ", ", one.code, one.when);
  }
  return text + (text.empty() ? "" : ".");
}

}  // namespace tapedeck::cli
