// SPDX-License-Identifier: Apache-2.0
/// @file
/// Runs the real program and keeps its output.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/paths.hpp"
#include "llama/support.hpp"
#include "os/descriptor.hpp"

namespace tapedeck::tests {

using Words = std::vector<std::string>;
using Json = nlohmann::json;

[[nodiscard]] inline Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Matches a whole text. `*` matches any characters within a line, and a line "..." matches any
/// lines.
MATCHER_P(Like, text, "is like\n" + std::string(text)) {
  std::string regex;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line == "...") {
      regex += "(.|\n)*";
      continue;
    }
    for (const char c : line) {
      if (std::strchr("\\^$.[]|()?+{}", c) != nullptr) regex += '\\';
      regex += c == '*' ? "[^\n]*" : std::string(1, c);
    }
    if (!lines.eof()) regex += '\n';
  }
  return ::testing::Value(std::string(arg), ::testing::MatchesRegex(regex));
}

/// The number of characters of the longest line.
[[nodiscard]] inline std::size_t width_of(const std::string& text) {
  std::size_t width = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) width = std::max(width, line.size());
  return width;
}

/// How a run ended, and what it printed.
struct Ran {
  int signal = 0;
  int exit_code = 0;
  std::string out{};
  std::string err{};
};

struct ProgramOptions {
  int out = -1;         ///< Its standard output; -1 means a file, for `Ran::out`.
  int err = -1;         ///< Its standard error; -1 means a file, for `Ran::err`.
  int terminal = -1;    ///< Its controlling terminal, which is then all its standard streams.
  uid_t user = 0;       ///< The user that it runs as; 0 means the user of the test.
  bool no_out = false;  ///< Runs it without a standard output.
  bool ignores_hangups = false;  ///< As nohup starts it.
  rlim_t descriptors = 0;        ///< The most that it may have open; 0 means as many as the test.
};

/// The program as a child process. Its standard output and error go to files, or to a descriptor of
/// the test.
class Program {
 public:
  explicit Program(const Words& arguments, const ProgramOptions& options = {})
      : out_(options.out < 0 ? ::open(out_path().c_str(), kNew, 0600) : options.out),
        err_(options.err < 0 ? ::open(err_path().c_str(), kNew, 0600) : options.err),
        id_(::fork()) {
    if (id_ == 0) become(arguments, options);
    if (options.out < 0) ::close(out_);
    if (options.err < 0) ::close(err_);
  }
  ~Program() {
    if (id_ > 0) {
      ::kill(id_, SIGKILL);
      ::waitpid(id_, nullptr, 0);
    }
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void send(int signal) const { ::kill(id_, signal); }

  /// Waits, up to a minute, until its first thread sleeps in a write to standard output, as it does
  /// when a pipe is full and not read.
  [[nodiscard]] bool waits_to_write() const {
    const std::string call = std::to_string(SYS_write) + " 0x1 ";
    for (int tries = 0; tries < 60'000; ++tries) {
      if (content_of("/proc/" + std::to_string(id_) + "/syscall").starts_with(call)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  /// Waits, up to a minute, until it has written something.
  [[nodiscard]] bool has_written() const {
    for (int tries = 0; tries < 60'000; ++tries) {
      const std::string io = content_of("/proc/" + std::to_string(id_) + "/io");
      const std::size_t at = io.find("wchar: ");
      if (at != std::string::npos && io.compare(at, 9, "wchar: 0\n") != 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  /// Waits for its end, and kills it after five minutes.
  Ran wait() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(5);
    int status = 0;
    while (::waitpid(id_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) ::kill(id_, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    id_ = 0;
    return {.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
            .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            .out = content_of(out_path()),
            .err = content_of(err_path())};
  }

 private:
  static constexpr int kNew = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;

  [[nodiscard]] std::filesystem::path out_path() const { return folder_ / "out"; }
  [[nodiscard]] std::filesystem::path err_path() const { return folder_ / "err"; }

  [[noreturn]] void become(const Words& arguments, const ProgramOptions& options) const {
    ::dup2(out_, 1);
    ::dup2(err_, 2);
    if (options.terminal >= 0) {
      for (const int stream : {0, 1, 2}) ::dup2(options.terminal, stream);
      ::setsid();
      ::ioctl(0, TIOCSCTTY, 0);
    }
    if (options.no_out) ::close(1);
    if (options.descriptors != 0) {
      const rlimit limit = {.rlim_cur = options.descriptors, .rlim_max = options.descriptors};
      ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    // Starts it as a shell would, regardless of how this test was started.
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGPIPE, SIG_DFL);
    ::signal(SIGHUP, options.ignores_hangups ? SIG_IGN : SIG_DFL);
    std::vector<char*> argv = {const_cast<char*>("tapedeck")};
    for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    if (options.user != 0 && ::setuid(options.user) != 0) ::_exit(126);
    ::execv(built_path("tapedeck").c_str(), argv.data());
    ::_exit(127);
  }

  TempFolder folder_;
  int out_;
  int err_;
  pid_t id_;
};

[[nodiscard]] inline Ran run(const Words& arguments, const ProgramOptions& options = {}) {
  return Program(arguments, options).wait();
}

/// Runs the program with `--json` and parses its output; standard error must be empty.
[[nodiscard]] inline Json json_of(const Words& arguments, int exit_code = 0,
                                  const ProgramOptions& options = {}) {
  const Ran ran = run(joined(arguments, {"--json"}), options);
  EXPECT_EQ(ran.exit_code, exit_code) << ran.err;
  EXPECT_TRUE(exit_code != 0 || ran.err.empty()) << ran.err;
  return Json::parse(ran.out);
}

/// Options to run the program as a user without root's access to all files; `nullopt` if that user
/// cannot run it.
[[nodiscard]] inline std::optional<ProgramOptions> as_nobody() {
  const ProgramOptions nobody = {.user = ::geteuid() == 0 ? 65'534U : 0};
  return run({"--version"}, nobody).exit_code < 126 ? std::optional(nobody) : std::nullopt;
}

/// Sets an environment variable during its lifetime, for programs that are run meanwhile.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    if (const char* const before = std::getenv(name_.c_str())) before_ = before;
    ::setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Variable() {
    if (before_) {
      ::setenv(name_.c_str(), before_->c_str(), 1);
    } else {
      ::unsetenv(name_.c_str());
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  std::string name_;
  std::optional<std::string> before_;
};

/// One end of something that is read or written.
class End : public internal::os::Descriptor {
 public:
  using Descriptor::Descriptor;
  void close() { *this = End(); }

  /// Reads what is available; waits for something, up to a minute. Returns "" at the end.
  [[nodiscard]] std::string read_some() const {
    pollfd wait = {.fd = get(), .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, 60'000) != 1) return {};
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(get(), buffer.data(), buffer.size());
    return {buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
  }

  [[nodiscard]] std::string read_all() const {
    std::string all;
    for (std::string some = read_some(); !some.empty(); some = read_some()) all += some;
    return all;
  }
};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("cannot create a pipe");
    read = End(ends[0]);
    write = End(ends[1]);
  }
  End read;
  End write;
};

/// A program whose standard output is a pipe to the test.
struct Piped {
  explicit Piped(const Words& arguments, int capacity = 0, ProgramOptions options = {})
      : program(arguments, with_out(options, capacity)) {
    pipe.write.close();
  }
  /// Lets it run to its end; the rest of its output is in `Ran::out`.
  [[nodiscard]] Ran finish() {
    std::string out = pipe.read.read_all();
    Ran ran = program.wait();
    ran.out = std::move(out);
    return ran;
  }
  Pipe pipe;
  Program program;

 private:
  ProgramOptions with_out(ProgramOptions options, int capacity) {
    if (capacity != 0) ::fcntl(pipe.write.get(), F_SETPIPE_SZ, capacity);
    options.out = pipe.write.get();
    return options;
  }
};

/// Both sides of a pseudo-terminal of 80 columns.
struct Terminal {
  Terminal() {
    if (::grantpt(control.get()) != 0 || ::unlockpt(control.get()) != 0) return;
    side = End(::open(::ptsname(control.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    const winsize size = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    ::ioctl(control.get(), TIOCSWINSZ, &size);
  }
  /// Returns what was printed, after the program has ended.
  [[nodiscard]] std::string printed() {
    side.close();
    return control.read_all();
  }
  End control{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  End side;
};

/// Returns why a `Terminal` cannot be created, or `nullopt` if it can.
[[nodiscard]] inline std::optional<std::string> no_terminal() {
  if (Terminal().side) return std::nullopt;
  return std::string("there is no pseudo-terminal: ") + std::strerror(errno);
}

/// Whether it ended as every bad input must: with exit code 2, nothing on standard output, and one
/// line on standard error that begins with the program's name and `says`.
[[nodiscard]] inline ::testing::AssertionResult refuses(const Ran& ran, const std::string& says) {
  const bool one_line = !ran.err.empty() && ran.err.find('\n') == ran.err.size() - 1;
  if (ran.signal == 0 && ran.exit_code == 2 && ran.out.empty() && one_line &&
      ran.err.starts_with("tapedeck: " + says)) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "expected one line \"tapedeck: " << says << "...\", but signal " << ran.signal
         << ", exit code " << ran.exit_code << ", output \"" << ran.out << "\", errors \""
         << ran.err << "\"";
}

}  // namespace tapedeck::tests
