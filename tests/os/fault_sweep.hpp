// SPDX-License-Identifier: Apache-2.0
/// @file
/// Runs a function repeatedly with its 1st, 2nd, ... system call failing, until a run completes
/// without a failure.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "os/faults.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"

#if defined(TAPEDECK_ASAN)
#include <sanitizer/lsan_interface.h>
#endif

namespace tapedeck::tests {
namespace os = internal::os;

/// What a run reports that it could not do, other than by an error: wishes and unknown figures.
using Complaints = std::vector<std::string>;

struct Work {
  std::function<Complaints()> run;
  std::set<std::string> silent{};  ///< Calls whose failure may go unnoticed.
};

/// `more`, and the calls that look at the effect of another call. If a look fails, the effect is
/// unknown and not reported as missing.
[[nodiscard]] inline std::set<std::string> silent_looks(std::set<std::string> more = {}) {
  more.insert({"madvise_cold", "get_mempolicy", "open", "pread", "ioctl"});
  return more;
}

/// The result of one run.
struct Run {
  Complaints complaints{};
  std::string error{};
  bool typed = false;  ///< Whether the error is one of the library's.
  int number = 0;      ///< errno, of a SystemError.
  bool fired = false;
  std::string victim{};
};

[[nodiscard]] inline Run run_with_fault(const Work& work, std::uint64_t k, int error) {
  const os::InjectFault fault(k, error);
  Run run;
  try {
    run.complaints = work.run();
  } catch (const SystemError& thrown) {
    run = {.error = thrown.what(), .typed = true, .number = thrown.number()};
  } catch (const Error& thrown) {
    run = {.error = thrown.what(), .typed = true};
  } catch (const std::exception& thrown) {
    run = {.error = thrown.what()};
  }
  run.fired = os::InjectFault::fired();
  run.victim = os::InjectFault::victim();
  return run;
}

/// A failure must be reported by an error of ours that names the call, or by a new complaint.
inline void expect_noticed(const Run& run, const Complaints& usual, const Work& work, int error) {
  if (run.error.empty()) {
    // A sanitizer's mlock does nothing, which is a complaint of each run.
    const bool silent = work.silent.contains(run.victim) || (kSanitized && run.victim == "mlock");
    EXPECT_TRUE(run.complaints != usual || silent)
        << "a failure was not noticed: " << run.victim << " failed";
    return;
  }
  EXPECT_TRUE(run.typed) << run.error;
  EXPECT_TRUE(run.error.find(run.victim) != std::string::npos)
      << run.victim << " failed, and the error says: " << run.error;
  EXPECT_EQ(run.number, error) << run.error;
}

/// The errors to sweep with. Sanitizers use only the first of these, because they make each of some
/// hundred runs slow; the paths of the other errors run without them.
[[nodiscard]] inline std::vector<int> sweep_errors(std::vector<int> all) {
  if (kSanitized) all.resize(1);
  return all;
}

inline void expect_no_leak() {
#if defined(TAPEDECK_ASAN)
  EXPECT_EQ(__lsan_do_recoverable_leak_check(), 0);
#endif
}

/// Runs `work` with each of its calls failing with `error` in turn. Each failure must be noticed
/// and leave the state as it was. Returns the number of calls.
inline std::uint64_t sweep(const Work& work, int error) {
  static_cast<void>(work.run());  // creates whatever is created only once
  const Complaints usual = work.run();
  for (std::uint64_t k = 1; k < 1000; ++k) {
    const Holdings before = holdings();
    const Run run = run_with_fault(work, k, error);
    SCOPED_TRACE("call " + std::to_string(k) + " (" + run.victim + ") fails with " +
                 errno_name(error));
    EXPECT_TRUE(same(before, holdings()));
    if (!run.fired) {
      EXPECT_EQ(run.error, "");
      EXPECT_EQ(run.complaints, usual);
      expect_no_leak();
      return k - 1;
    }
    expect_noticed(run, usual, work, error);
  }
  ADD_FAILURE() << "the sweep did not end after a thousand calls";
  return 0;
}

}  // namespace tapedeck::tests
