// SPDX-License-Identifier: Apache-2.0
/// @file
/// A third-party program that runs beside a test.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "os/child.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {

/// Starts the program with its output in a log. It ends with this object, or with the test, however
/// the test ends.
class Daemon {
 public:
  Daemon(const std::vector<std::string>& words, const std::filesystem::path& log)
      : log_(log), child_([&] { execute(words, log); }) {}
  ~Daemon() {
    child_.kill(SIGKILL);
    static_cast<void>(child_.wait());
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// Returns the end of the log.
  [[nodiscard]] std::string said() const { return shell("tail -5 " + log_.string()).text; }

 private:
  static void execute(const std::vector<std::string>& words, const std::filesystem::path& log) {
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Including the child's pipe, because its other end waits for it to be closed.
    ::close_range(3, ~0U, 0);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }

  std::filesystem::path log_;
  Child child_;
};

}  // namespace tapedeck::tests
