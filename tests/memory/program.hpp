// SPDX-License-Identifier: Apache-2.0
/// @file
/// Runs a program of the build in a test.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace tapedeck::tests {

struct Ran {
  int exit_code = -1;  ///< -1 if it did not exit by itself.
  std::string output{};
};

/// Returns both outputs together. The command is run by the shell.
[[nodiscard]] inline Ran run_program(const std::string& command) {
  Ran ran;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ran;
  std::array<char, 4096> part{};
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe)) {
    ran.output.append(part.data(), got);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) ran.exit_code = WEXITSTATUS(status);
  return ran;
}

}  // namespace tapedeck::tests
