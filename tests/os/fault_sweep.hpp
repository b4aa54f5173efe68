/// @file
/// A piece of work run again and again with its 1st, 2nd, … system call failing, until a run
/// completes without.
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

/// What a run could not do, without an error: wishes, figures that are unknown.
using Complaints = std::vector<std::string>;

struct Work {
  std::function<Complaints()> run;
  std::set<std::string> silent{};  ///< Calls whose failure nobody needs to notice.
};

/// How one run went.
struct Run {
  Complaints complaints{};
  std::string error{};
  bool typed = false;  ///< The error is the library's.
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

/// A failure is told by an error of ours that names the call, or by a new complaint.
inline void expect_noticed(const Run& run, const Complaints& usual, const Work& work, int error) {
  if (run.error.empty()) {
    EXPECT_TRUE(run.complaints != usual || work.silent.contains(run.victim))
        << "nobody noticed that " << run.victim << " failed";
    return;
  }
  EXPECT_TRUE(run.typed) << run.error;
  EXPECT_TRUE(run.error.find(run.victim) != std::string::npos)
      << run.victim << " failed, and the error says: " << run.error;
  EXPECT_EQ(run.number, error) << run.error;
}

/// The errors to sweep with: of these, a sanitizer gets the first alone. It makes each of some
/// hundred runs slow, and a path that another error takes is run without one.
[[nodiscard]] inline std::vector<int> sweep_errors(std::vector<int> all) {
  if (kSanitized) all.resize(1);
  return all;
}

inline void expect_no_leak() {
#if defined(TAPEDECK_ASAN)
  EXPECT_EQ(__lsan_do_recoverable_leak_check(), 0);
#endif
}

/// Runs `work` with each of its calls failing with `error` in turn. Each run must be noticed and
/// leave behind what was there before. Returns the number of calls.
inline std::uint64_t sweep(const Work& work, int error) {
  static_cast<void>(work.run());  // whatever is made only once is made now
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
  ADD_FAILURE() << "a thousand calls and no end";
  return 0;
}

}  // namespace tapedeck::tests
