// SPDX-License-Identifier: Apache-2.0
/// @file
/// One writer does everything that a writer may do, while readers check every figure. Shared with
/// the mutant whose figures are plain integers, so that both are checked by the same code.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {

/// Collects the impossible values that one reader saw.
template <class AnyTape>
class Watcher {
 public:
  explicit Watcher(const AnyTape& tape) : tape_(tape) {}

  void look() {
    const std::size_t used = tape_.used();
    const std::size_t recent = tape_.recent_peak();
    const std::size_t peak = tape_.peak();
    most_used_ = std::max({most_used_, used, recent});
    check(used <= tape_.total(), "more is used than there is");
    check(peak <= tape_.total(), "the peak is more than there is");
    check(peak >= peak_, "the peak went down");
    check(peak >= most_used_, "the peak is less than what was used");
    check(tape_.committed() <= tape_.total(), "more is committed than there is");
    check(tape_.floor() <= tape_.total(), "the floor is beyond the end");
    peak_ = peak;
    look_at_stat();
  }

  [[nodiscard]] const std::string& wrong() const { return wrong_; }

 private:
  void check(bool holds, const char* what) {
    if (!holds && wrong_.empty()) wrong_ = what;
  }

  void look_at_stat() {
    const TapeStat stat = tape_.stat();
    most_used_ = std::max<std::size_t>(most_used_, stat.used);
    check(stat.used <= stat.reserved, "stat: more is used than there is");
    check(stat.peak >= most_used_, "stat: the peak is less than what was used");
    check(stat.peak >= peak_, "stat: the peak went down");
    check(stat.committed <= stat.reserved, "stat: more is committed than there is");
    check(stat.clears >= last_.clears, "stat: clears went down");
    check(stat.grows >= last_.grows, "stat: grows went down");
    check(stat.spills >= last_.spills, "stat: spills went down");
    check(stat.refused >= last_.refused, "stat: refused went down");
    check(stat.spilled_peak >= last_.spilled_peak, "stat: the spilled peak went down");
    peak_ = stat.peak;
    last_ = stat;
  }

  const AnyTape& tape_;
  std::size_t most_used_ = 0;
  std::size_t peak_ = 0;
  TapeStat last_{};
  std::string wrong_;
};

/// A pass: takes until after the tape is full, rewinds, clears, and restarts the recent peak.
inline void write_a_pass(Tape& tape, std::size_t pass) {
  for (std::size_t i = 0; i < 20; ++i) {
    (void)tape.try_take(1 + (pass * 67 + i * 31) % 3000);
    (void)tape.try_take(24, 8);
    const Tape::Mark mark = tape.mark();
    (void)tape.try_take(500, 4096);
    if (i % 3 != 0) tape.rewind(mark);
  }
  if (pass % 8 == 0) tape.clear();
  if (pass % 12 == 0) tape.restart_peak();  // in the middle of a pass, and after a clear
  if (pass % 64 == 0) tape.decommit();
}

/// Returns what the readers found wrong, each thing once.
inline std::vector<std::string> watch(Tape& tape, std::size_t readers, std::size_t passes) {
  // Relaxed, because the flag must not order what the readers see.
  std::atomic<bool> done{false};
  std::latch start(static_cast<std::ptrdiff_t>(readers) + 1);
  std::vector<std::string> wrong(readers);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < readers; ++i) {
      threads.emplace_back([&, i] {
        Watcher watcher(tape);
        start.arrive_and_wait();
        do {
          watcher.look();
        } while (!done.load(std::memory_order_relaxed));
        wrong[i] = watcher.wrong();
      });
    }
    start.arrive_and_wait();
    for (std::size_t pass = 0; pass < passes; ++pass) write_a_pass(tape, pass);
    done.store(true, std::memory_order_relaxed);
  }
  std::erase(wrong, "");
  return wrong;
}

}  // namespace tapedeck::tests
