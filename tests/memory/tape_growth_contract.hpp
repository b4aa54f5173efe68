// SPDX-License-Identifier: Apache-2.0
/// @file
/// The behavior of every kind of tape that is committed as it grows, on the host and on devices.
/// Instantiated where the kinds are defined.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <stdexcept>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "memory/tape_contract.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {

template <class Kind>
class TapeGrowthContract : public TapeContract<Kind> {
 protected:
  /// The size of a part of the tape, in whole lines and whole pages.
  [[nodiscard]] std::size_t eighth() { return this->tape().total() / 8; }
};
TYPED_TEST_SUITE_P(TapeGrowthContract);

TYPED_TEST_P(TapeGrowthContract, BytesStayWhereTheyAreAsItGrows) {
  auto& tape = this->tape();
  const std::size_t bytes = this->eighth() / 8;
  std::vector<void*> taken;
  while (tape.try_prepare(bytes)) {
    taken.push_back(tape.take(bytes));
    this->write(Pattern(taken.size()), taken.back(), bytes);
    ASSERT_TRUE(this->holds(Pattern(1), taken.front(), bytes)) << "after take " << taken.size();
  }
  EXPECT_EQ(taken.size(), 64U);
  EXPECT_GE(tape.stat().grows, 3U);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_TRUE(this->holds(Pattern(i + 1), taken[i], bytes)) << "take " << i;
  }
}

TYPED_TEST_P(TapeGrowthContract, WhatWasPreparedIsTakenWithoutGrowth) {
  auto& tape = this->tape();
  tape.prepare(1);
  (void)tape.take(1000);
  const std::uint64_t grows = tape.stat().grows;
  tape.prepare(4 * this->eighth());
  EXPECT_GE(tape.committed(), 1024 + 4 * this->eighth());
  EXPECT_EQ(tape.used(), 1024U);
  EXPECT_EQ(tape.peak(), 1024U);
  EXPECT_EQ(tape.stat().grows, grows + 1);
  for (std::size_t i = 0; i < 4; ++i) (void)tape.take(this->eighth());
  EXPECT_EQ(tape.stat().grows, grows + 1);
  this->expect_consistent();
}

TYPED_TEST_P(TapeGrowthContract, ToPrepareLessChangesNothing) {
  auto& tape = this->tape();
  tape.prepare(this->eighth());
  const TapeStat before = tape.stat();
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, this->eighth()}) {
    tape.prepare(bytes);
  }
  EXPECT_EQ(tape.committed(), before.committed);
  EXPECT_EQ(tape.stat().grows, before.grows);
  tape.prepare(tape.total());
  EXPECT_EQ(tape.committed(), tape.total());
}

TYPED_TEST_P(TapeGrowthContract, MoreThanTheTapeHasIsNotPrepared) {
  auto& tape = this->tape();
  tape.prepare(1000);
  (void)tape.take(1000);
  const std::size_t committed = tape.committed();
  const std::size_t total = tape.total();
  for (const std::size_t bytes : {total, total - 1023, kMost, kMost - this->line() + 1}) {
    EXPECT_FALSE(tape.try_prepare(bytes)) << bytes;
    const auto full = thrown<TapeFull>([&] { tape.prepare(bytes); });
    EXPECT_STREQ(full.name(), "kind");
    EXPECT_EQ(full.requested(), bytes);
    EXPECT_EQ(full.used(), 1024U);
    EXPECT_EQ(full.total(), total);
  }
  EXPECT_EQ(tape.committed(), committed);
  EXPECT_EQ(tape.stat().refused, 0U) << "nothing was taken";
  EXPECT_TRUE(tape.try_prepare(total - 1024));
}

TYPED_TEST_P(TapeGrowthContract, AGrowthThatFailsLeavesTheTapeAsItWas) {
  auto& tape = this->tape();
  tape.prepare(1000);
  void* first = tape.take(1000);
  this->write(Pattern(1), first, 1000);
  const TapeStat before = tape.stat();
  this->kind().refuse = true;
  EXPECT_THROW(tape.prepare(2 * this->eighth()), std::runtime_error);
  EXPECT_FALSE(tape.try_prepare(2 * this->eighth()));
  EXPECT_EQ(tape.try_take(2 * this->eighth()), nullptr);
  EXPECT_EQ(tape.try_take(2 * this->eighth(), 8), nullptr);
  EXPECT_THROW((void)tape.take(2 * this->eighth()), TapeFull);
  EXPECT_EQ(tape.stat().used, before.used);
  EXPECT_EQ(tape.stat().committed, before.committed);
  EXPECT_EQ(tape.stat().grows, before.grows);
  EXPECT_EQ(tape.stat().refused, before.refused + 3);
  this->kind().refuse = false;
  tape.prepare(2 * this->eighth());
  EXPECT_EQ(tape.take(2 * this->eighth()), static_cast<std::byte*>(first) + 1024);
  EXPECT_TRUE(this->holds(Pattern(1), first, 1000));
}

TYPED_TEST_P(TapeGrowthContract, ClearAndRewindKeepWhatIsCommitted) {
  auto& tape = this->tape();
  tape.prepare(6 * this->eighth());
  const TapeStat before = tape.stat();
  for (int pass = 0; pass < 2; ++pass) {
    const auto mark = tape.mark();
    (void)tape.take(6 * this->eighth());
    tape.rewind(mark);
    (void)tape.take(6 * this->eighth());
    tape.clear();
    EXPECT_EQ(tape.used(), 0U);
    EXPECT_EQ(tape.committed(), before.committed);
    EXPECT_EQ(tape.stat().grows, before.grows);
  }
}

TYPED_TEST_P(TapeGrowthContract, DecommitGivesBackThePagesAboveTheHeadAndTheyComeAgain) {
  auto& tape = this->tape();
  tape.prepare(tape.total());
  void* kept = tape.take(5000);
  this->write(Pattern(1), kept, 5000);
  const auto mark = tape.mark();
  const void* gone = tape.take(4 * this->eighth());
  tape.rewind(mark);
  const std::size_t peak = tape.peak();
  const std::size_t left = round_up(tape.used(), tape.stat().page_size);
  EXPECT_EQ(tape.decommit(), tape.total() - left);
  EXPECT_EQ(tape.committed(), left);
  EXPECT_EQ(tape.decommit(), 0U);
  EXPECT_EQ(tape.peak(), peak);

  const std::uint64_t grows = tape.stat().grows;
  tape.prepare(4 * this->eighth());
  EXPECT_EQ(tape.stat().grows, grows + 1);
  void* again = tape.take(4 * this->eighth());
  EXPECT_EQ(again, gone) << "addresses never move";
  this->write(Pattern(2), again, 4 * this->eighth());
  EXPECT_TRUE(this->holds(Pattern(2), again, 4 * this->eighth()));
  EXPECT_TRUE(this->holds(Pattern(1), kept, 5000));
}

REGISTER_TYPED_TEST_SUITE_P(TapeGrowthContract, BytesStayWhereTheyAreAsItGrows,
                            WhatWasPreparedIsTakenWithoutGrowth, ToPrepareLessChangesNothing,
                            MoreThanTheTapeHasIsNotPrepared, AGrowthThatFailsLeavesTheTapeAsItWas,
                            ClearAndRewindKeepWhatIsCommitted,
                            DecommitGivesBackThePagesAboveTheHeadAndTheyComeAgain);

}  // namespace tapedeck::tests
