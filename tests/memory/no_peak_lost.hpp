/// @file
/// A reader of the peak beside a writer that makes one after the other, for every kind of tape.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <latch>
#include <thread>

#include "memory/watched_tape.hpp"

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
    Watcher watcher(tape);
    start.arrive_and_wait();
    while (!done.load(std::memory_order_relaxed)) watcher.look();
    EXPECT_EQ(watcher.wrong(), "");
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
