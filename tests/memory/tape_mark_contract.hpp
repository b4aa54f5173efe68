// SPDX-License-Identifier: Apache-2.0
/// @file
/// The behavior of marks and the floor, for every kind of tape that has them. Instantiated where
/// the kinds are defined.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>

#include "memory/no_peak_lost.hpp"
#include "memory/pattern.hpp"
#include "memory/tape_contract.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::tests {

template <class Kind>
class TapeMarkContract : public TapeContract<Kind> {
 protected:
  /// The bytes that a take with the default alignment uses.
  [[nodiscard]] std::size_t whole(std::size_t bytes) { return round_up(bytes, this->line()); }
};
TYPED_TEST_SUITE_P(TapeMarkContract);

TYPED_TEST_P(TapeMarkContract, AMarkCanBeUsedAgainAndAgain) {
  auto& tape = this->tape();
  void* below = tape.take(100);
  this->write(Pattern(1), below, 100);
  const auto mark = tape.mark();
  const void* first = tape.take(10'000);
  for (int pass = 0; pass < 5; ++pass) {
    tape.rewind(mark);
    EXPECT_EQ(tape.used(), this->whole(100));
    EXPECT_EQ(tape.take(1000), first);
    this->expect_consistent();
  }
  EXPECT_EQ(tape.peak(), this->whole(100) + this->whole(10'000));
  EXPECT_EQ(tape.stat().clears, 0U);
  EXPECT_TRUE(this->holds(Pattern(1), below, 100));
}

TYPED_TEST_P(TapeMarkContract, AnOlderMarkGivesBackMore) {
  auto& tape = this->tape();
  const auto none = tape.mark();
  (void)tape.take(1);
  const auto one = tape.mark();
  (void)tape.take(1);
  const auto two = tape.mark();
  (void)tape.take(1);
  tape.rewind(two);
  EXPECT_EQ(tape.used(), 2 * this->line());
  tape.rewind(none);
  EXPECT_EQ(tape.used(), 0U);
  tape.rewind(one);
  tape.rewind(two);
  EXPECT_EQ(tape.used(), 0U);
}

// The head is above the marks again, but the bytes below it were taken after them and must not be
// released.
TYPED_TEST_P(TapeMarkContract, AMarkFromBeforeAClearDoesNothing) {
  auto& tape = this->tape();
  const auto empty = tape.mark();
  (void)tape.take(64);
  const auto mark = tape.mark();
  tape.clear();
  void* later = tape.take(5000);
  this->write(Pattern(2), later, 5000);
  tape.rewind(mark);
  tape.rewind(empty);
  EXPECT_EQ(tape.used(), this->whole(5000));
  EXPECT_TRUE(this->holds(Pattern(2), later, 5000));
}

TYPED_TEST_P(TapeMarkContract, WhatLiesBelowTheFloorStays) {
  auto& tape = this->tape();
  auto* planned = static_cast<std::byte*>(tape.take(1000));
  this->write(Pattern(1), planned, 1000);
  EXPECT_EQ(tape.floor(), 0U);
  const std::size_t floor = this->whole(1000);
  for (int time = 0; time < 2; ++time) {
    tape.raise_floor();
    EXPECT_EQ(tape.floor(), floor);
    EXPECT_EQ(tape.stat().planned, floor);
  }
  for (int pass = 0; pass < 3; ++pass) {
    void* taken = tape.take(500);
    EXPECT_EQ(taken, planned + floor);
    this->write(Pattern(2), taken, 500);
    tape.clear();
    EXPECT_EQ(tape.used(), floor);
    EXPECT_TRUE(this->holds(Pattern(1), planned, 1000));
  }
  EXPECT_EQ(tape.peak(), floor + this->whole(500));
}

TYPED_TEST_P(TapeMarkContract, AMarkFromBelowTheFloorGivesNothingBack) {
  auto& tape = this->tape();
  const auto mark = tape.mark();
  (void)tape.take(1000);
  tape.raise_floor();
  (void)tape.take(1000);
  tape.rewind(mark);
  EXPECT_EQ(tape.used(), 2 * this->whole(1000));
}

TYPED_TEST_P(TapeMarkContract, ARestartedPeakIsThatOfWhatCameSince) {
  auto& tape = this->tape();
  (void)tape.take(10'000);
  tape.clear();
  tape.restart_peak();
  EXPECT_EQ(tape.recent_peak(), 0U);
  EXPECT_EQ(tape.peak(), this->whole(10'000));
  (void)tape.take(2000);
  tape.clear();
  EXPECT_EQ(tape.recent_peak(), this->whole(2000));
  EXPECT_EQ(tape.peak(), this->whole(10'000));
  (void)tape.take(20'000);
  tape.restart_peak();  // in the middle of a pass
  EXPECT_EQ(tape.recent_peak(), this->whole(20'000));
  tape.clear();
  tape.restart_peak();
  EXPECT_EQ(tape.recent_peak(), 0U);
  EXPECT_EQ(tape.peak(), this->whole(20'000));
}

TYPED_TEST_P(TapeMarkContract, ReadersLoseNoPeakByClear) {
  expect_no_peak_lost(this->tape(), this->line(), ByClear());
}
TYPED_TEST_P(TapeMarkContract, ReadersLoseNoPeakByRewind) {
  expect_no_peak_lost(this->tape(), this->line(), ByRewind());
}
TYPED_TEST_P(TapeMarkContract, ReadersLoseNoPeakByRestart) {
  expect_no_peak_lost(this->tape(), this->line(), ByRestart());
}

REGISTER_TYPED_TEST_SUITE_P(TapeMarkContract, ARestartedPeakIsThatOfWhatCameSince,
                            ReadersLoseNoPeakByClear, ReadersLoseNoPeakByRewind,
                            ReadersLoseNoPeakByRestart, AMarkCanBeUsedAgainAndAgain,
                            AnOlderMarkGivesBackMore, AMarkFromBeforeAClearDoesNothing,
                            WhatLiesBelowTheFloorStays, AMarkFromBelowTheFloorGivesNothingBack);

}  // namespace tapedeck::tests
