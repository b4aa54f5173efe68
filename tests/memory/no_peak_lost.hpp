/// @file
/// A reader of the peak beside a writer that makes one after the other, for every kind of tape.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <latch>
#include <thread>

namespace tapedeck::tests {

/// Ways to have a new peak, and to give it back at once.
struct ByClear {
  template <class AnyTape>
  void operator()(AnyTape& tape, std::size_t line) const {
    (void)tape.take(line);
    tape.clear();
  }
};
struct ByRewind {
  template <class AnyTape>
  void operator()(AnyTape& tape, std::size_t line) const {
    const typename AnyTape::Mark mark = tape.mark();
    (void)tape.take(line);
    tape.rewind(mark);
  }
};
/// And begins to watch anew, so that the peak is one of the former.
struct ByRestart {
  template <class AnyTape>
  void operator()(AnyTape& tape, std::size_t line) const {
    ByClear()(tape, line);
    tape.restart_peak();
  }
};

/// Whoever saw a head must see its peak, and whoever saw a peak none that is lower. Each line of
/// the tape but the last is a new peak.
template <class AnyTape, class GiveBack>
void expect_no_peak_lost(AnyTape& tape, std::size_t line, const GiveBack& give_back) {
  std::atomic<bool> done{false};
  std::latch start(2);
  std::jthread reader([&] {
    start.arrive_and_wait();
    std::size_t most = 0;
    std::size_t lost = 0;
    std::size_t beyond = 0;
    while (!done.load(std::memory_order_relaxed)) {
      most = std::max(most, tape.used());
      const std::size_t peak = tape.peak();
      lost += peak < most ? 1U : 0U;
      beyond += peak > tape.total() ? 1U : 0U;
      most = std::max(most, peak);
    }
    EXPECT_EQ(lost, 0U);
    EXPECT_EQ(beyond, 0U);
  });
  start.arrive_and_wait();
  while (tape.free() > line) {
    give_back(tape, line);
    (void)tape.take(line);
    tape.raise_floor();
  }
  done.store(true, std::memory_order_relaxed);
}

}  // namespace tapedeck::tests
