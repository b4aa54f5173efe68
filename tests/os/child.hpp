// SPDX-License-Identifier: Apache-2.0
/// @file
/// Runs a part of a test in a forked child: for calls that kill the process, for the rights of
/// another user, and for limits that cannot be undone.
#pragma once

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>

namespace tapedeck::tests {

/// How a child ended.
struct Ended {
  int signal = 0;  ///< The signal that killed it, or 0.
  int exit_code = 0;
  std::string said;  ///< Its failed expectations.
};

/// A forked child that runs `body` and then exits. The destructor waits for it. A child that hangs
/// is killed after five minutes (SIGALRM).
class Child {
 public:
  explicit Child(const std::function<void()>& body) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::runtime_error("cannot create a pipe for a child");
    // Flushes output, so that it is not written twice.
    std::fflush(nullptr);
    id_ = ::fork();
    if (id_ < 0) throw std::runtime_error("no child");
    if (id_ == 0) run(body, ends[1]);
    ::close(ends[1]);
    words_ = ends[0];
  }
  ~Child() {
    if (id_ > 0) static_cast<void>(wait());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void kill(int signal) const { EXPECT_EQ(::kill(id_, signal), 0); }

  [[nodiscard]] Ended wait() {
    Ended ended;
    std::array<char, 4096> part{};
    while (true) {
      const ssize_t got = ::read(words_, part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      ended.said.append(part.data(), static_cast<std::size_t>(got));
    }
    ::close(words_);
    int status = 0;
    while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
    id_ = 0;
    ended.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    ended.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    return ended;
  }

 private:
  [[noreturn]] static void run(const std::function<void()>& body, int words) {
    const rlimit no_core = {0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    // A sanitizer would catch these signals and exit instead.
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    ::alarm(300);
    const std::string said = failures_of(body);
    std::size_t done = 0;
    while (done < said.size()) {
      const ssize_t put = ::write(words, said.data() + done, said.size() - done);
      if (put <= 0) break;
      done += static_cast<std::size_t>(put);
    }
    ::_exit(said.empty() ? 0 : 1);
  }

  [[nodiscard]] static std::string failures_of(const std::function<void()>& body) {
    ::testing::TestPartResultArray results;
    std::string said;
    {
      const ::testing::ScopedFakeTestPartResultReporter reporter(
          ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
      try {
        body();
      } catch (const std::exception& error) {
        said += std::string("in the child: ") + error.what() + "\n";
      }
    }
    for (int i = 0; i < results.size(); ++i) {
      const ::testing::TestPartResult& one = results.GetTestPartResult(i);
      if (!one.failed()) continue;
      const char* file = one.file_name() == nullptr ? "?" : one.file_name();
      said += std::string(file) + ":" + std::to_string(one.line_number()) +
              ": in the child: " + one.message() + "\n";
    }
    return said;
  }

  pid_t id_ = 0;
  int words_ = -1;
};

/// Whether the child exited by itself and without a failed expectation.
[[nodiscard]] inline ::testing::AssertionResult passed(const Ended& ended) {
  if (ended.signal == 0 && ended.exit_code == 0) return ::testing::AssertionSuccess();
  if (ended.signal != 0) {
    return ::testing::AssertionFailure()
           << "the child was killed: " << ::strsignal(ended.signal) << "\n"
           << ended.said;
  }
  return ::testing::AssertionFailure() << "the child exited with " << ended.exit_code << "\n"
                                       << ended.said;
}

/// EXPECT_TRUE(passes_in_child([] { EXPECT_EQ(1, 1); }));
[[nodiscard]] inline ::testing::AssertionResult passes_in_child(const std::function<void()>& body) {
  return passed(Child(body).wait());
}

/// Like EXPECT_TRUE(passes_in_child(...)), but without the whole body in the message.
inline void in_child(const std::function<void()>& body, const char* file = __builtin_FILE(),
                     int line = __builtin_LINE()) {
  const ::testing::AssertionResult result = passes_in_child(body);
  if (!result) ADD_FAILURE_AT(file, line) << result.message();
}

namespace fault_address {
inline const volatile void* expected = nullptr;
inline void check(int /*signal*/, siginfo_t* info, void* /*context*/) {
  ::_exit(info->si_addr == expected ? 42 : 43);
}
}  // namespace fault_address

/// Whether `access` faults (SIGSEGV) at exactly that address. Runs in a child.
[[nodiscard]] inline ::testing::AssertionResult faults_at(const void* at,
                                                          const std::function<void()>& access) {
  const Ended ended = Child([&] {
                        fault_address::expected = at;
                        struct sigaction action {};
                        action.sa_sigaction = fault_address::check;
                        action.sa_flags = SA_SIGINFO;
                        ::sigaction(SIGSEGV, &action, nullptr);
                        access();
                      }).wait();
  if (ended.exit_code == 42) return ::testing::AssertionSuccess();
  if (ended.exit_code == 43)
    return ::testing::AssertionFailure() << "it faulted at another address";
  return ::testing::AssertionFailure() << "it did not fault; " << passed(ended).message();
}

[[nodiscard]] inline ::testing::AssertionResult faults_on_read(const std::byte* at) {
  return faults_at(
      at, [at] { static_cast<void>(*reinterpret_cast<const volatile unsigned char*>(at)); });
}

[[nodiscard]] inline ::testing::AssertionResult faults_on_write(std::byte* at) {
  return faults_at(at, [at] { *reinterpret_cast<volatile unsigned char*>(at) = 1; });
}

}  // namespace tapedeck::tests
