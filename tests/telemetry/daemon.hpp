/// @file
/// Somebody else's program that works beside a test.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/tools.hpp"

namespace tapedeck::tests {

/// Started with what it says in a log; it ends with its object, or with the test, however that
/// ends.
class Daemon {
 public:
  Daemon(const std::vector<std::string>& words, std::filesystem::path log)
      : log_(std::move(log)), id_(start(words, log_)) {}
  ~Daemon() {
    if (id_ < 0) return;  // was never started; kill would take -1 for everybody
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// The last of it.
  [[nodiscard]] std::string said() const { return shell("tail -5 " + log_.string()).text; }

 private:
  static pid_t start(const std::vector<std::string>& words, const std::filesystem::path& log) {
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const pid_t id = ::fork();
    if (id != 0) return id;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }

  std::filesystem::path log_;
  pid_t id_;
};

}  // namespace tapedeck::tests
