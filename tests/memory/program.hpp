/// @file
/// A program of the build, run by a test.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace tapedeck::tests {

struct Ran {
  int exit_code = -1;  ///< -1: it did not end by itself.
  std::string output{};
};

/// Both its outputs. The command goes through the shell.
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
