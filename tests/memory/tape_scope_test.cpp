// SPDX-License-Identifier: Apache-2.0
// The scope that marks and rewinds, and what rewinding does only on the host.

#include "tapedeck/memory/tape_scope.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>

#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

TEST(TapeScope, Nests) {
  Tape tape = Tape::start(1_MiB);
  for (std::size_t pass = 0; pass < 3; ++pass) {
    const TapeScope outer(tape);
    (void)tape.take(64);
    for (std::size_t layer = 1; layer <= 4; ++layer) {
      const TapeScope inner(tape);
      (void)tape.take(64 * layer);
      EXPECT_EQ(tape.used(), 64 + 64 * layer);
    }
    EXPECT_EQ(tape.used(), 64U);
  }
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.peak(), 64U * 5);
}

TEST(TapeScope, UnwindsWithAnException) {
  Tape tape = Tape::start(4_KiB);
  try {
    const TapeScope scope(tape);
    (void)tape.take(4_KiB);
    (void)tape.take(1);
    FAIL() << "a full tape returned something";
  } catch (const TapeFull&) {
    EXPECT_EQ(tape.used(), 0U);
  }
}

TEST(TapeScope, TheInnerOneDoesNothingAfterTheOuter) {
  Tape tape = Tape::start(1_MiB);
  auto outer = std::make_unique<TapeScope>(tape);
  (void)tape.take(1000);
  auto inner = std::make_unique<TapeScope>(tape);
  (void)tape.take(1000);
  outer.reset();
  EXPECT_EQ(tape.used(), 0U);
  inner.reset();
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.peak(), 2048U);
}

// Packed takes continue in the line that was open at the mark; rewinding releases these too.
TEST(TapeRewind, ReopensTheLineThatWasOpen) {
  Tape tape = Tape::start(1_MiB);
  auto* first = static_cast<std::byte*>(tape.take(8, 8));
  Pattern(4).write(first, 8);
  const Tape::Mark mark = tape.mark();
  EXPECT_EQ(tape.take(8, 8), first + 8);     // in the open line
  EXPECT_EQ(tape.take(100, 4), first + 16);  // past its end
  (void)tape.take(64);
  EXPECT_EQ(tape.used(), 3 * 64U);
  tape.rewind(mark);
  EXPECT_EQ(tape.used(), 64U);
  EXPECT_EQ(tape.take(8, 8), first + 8);
  EXPECT_TRUE(Pattern(4).is_at(first, 8));
}

TEST(TapeRewind, ReopensALineThatLiesBelowWideTakes) {
  Tape tape = Tape::start(1_MiB);
  auto* first = static_cast<std::byte*>(tape.take(8, 8));
  (void)tape.take(64);
  const Tape::Mark mark = tape.mark();
  EXPECT_EQ(tape.take(16, 8), first + 8);
  EXPECT_EQ(tape.take(60, 4), first + 128);  // a new line
  tape.rewind(mark);
  EXPECT_EQ(tape.used(), 128U);
  EXPECT_EQ(tape.take(16, 8), first + 8);
}

TEST(TapeRewind, AStaleMarkLeavesTheSpillsAlone) {
  LedgerSpill source;
  Tape tape = Tape::start(4_KiB, {.spill = &source});
  (void)tape.take(5000);
  const Tape::Mark mark = tape.mark();
  tape.clear();
  void* spilled = tape.take(6000);
  Pattern(7).write(spilled, 6000);
  tape.rewind(mark);
  EXPECT_EQ(tape.stat().spilled, 6000U);
  EXPECT_TRUE(Pattern(7).is_at(spilled, 6000));
}

}  // namespace
}  // namespace tapedeck::tests
