// SPDX-License-Identifier: Apache-2.0
/// @file
/// A reader of the peak, running while a writer produces one new peak after another, for every kind
/// of tape.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <latch>
#include <thread>

#include "memory/watched_tape.hpp"

namespace tapedeck::tests {

/// Methods to reach a new peak and leave it at once.
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
/// Also restarts the recent peak, so that the peak is a former one.
struct ByRestart {
  template <class AnyTape>
  void operator()(AnyTape& tape, std::size_t line) const {
    ByClear()(tape, line);
    tape.restart_peak();
  }
};

/// A reader that saw a head must also see its peak, and must never see a lower peak than before.
/// Each line of the tape except the last is a new peak.
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
