// SPDX-License-Identifier: Apache-2.0
// Blocks over parts of another block's addresses, and tapes over memory that other code commits.
#include <gtest/gtest.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "memory/hook_ledger.hpp"
#include "memory/pattern.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace {

TEST(BlockPart, EachGrowsByItselfAndNothingMoves) {
  Block whole = Block::reserve(64 * kPage, {.huge_pages = HugePages::never});
  Block low = whole.part(0, 16 * kPage);
  Block high = whole.part(16 * kPage, 48 * kPage);
  EXPECT_EQ(low.data(), whole.data());
  EXPECT_EQ(high.data(), whole.data() + 16 * kPage);
  EXPECT_EQ(low.committed(), 0U);

  high.commit(kPage);
  Pattern(1).write(high.data(), kPage);
  low.commit(2 * kPage);
  Pattern(2).write(low.data(), 2 * kPage);
  high.commit(3 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(high.data(), kPage));
  EXPECT_EQ(high.committed(), 3 * kPage);
  EXPECT_EQ(whole.committed(), 0U);

  EXPECT_EQ(low.decommit(kPage), kPage);
  EXPECT_TRUE(Pattern(2).is_at(low.data(), kPage));
  EXPECT_TRUE(Pattern(1).is_at(high.data(), kPage));
}

TEST(BlockPart, AddressesStayThoseOfTheWhole) {
  Block whole = Block::reserve(8 * kPage, {.huge_pages = HugePages::never});
  const Holdings before = holdings();
  {
    Block part = whole.part(4 * kPage, 2 * kPage);
    part.commit(part.size());
    part.decommit(0);
  }
  EXPECT_TRUE(same(before, holdings()));
  Block again = whole.part(4 * kPage, 2 * kPage);
  again.commit(kPage);
  EXPECT_TRUE(all_bytes_are(again.data(), kPage, 0));
}

TEST(BlockPart, IsRoundedUpToPagesButNotBeyondTheWhole) {
  Block whole = Block::reserve(3 * kPage, {.huge_pages = HugePages::never});
  EXPECT_EQ(whole.part(0, 1).size(), kPage);
  EXPECT_EQ(whole.part(2 * kPage, kPage).size(), kPage);
}

TEST(BlockPart, RefusesWhatItCannotBe) {
  Block whole = Block::reserve(4 * kPage);
  EXPECT_THROW((void)whole.part(0, 0), InvalidArgument);
  EXPECT_THROW((void)whole.part(0, 4 * kPage + 1), InvalidArgument);
  const auto outside = thrown<InvalidArgument>([&] { return whole.part(5 * kPage, 1); });
  EXPECT_EQ(outside.argument(), "offset");
  EXPECT_EQ(outside.value(), 5 * kPage);
  EXPECT_EQ(outside.limit(), 4 * kPage);
  const auto inside_a_page = thrown<InvalidArgument>([&] { return whole.part(64, kPage); });
  EXPECT_EQ(inside_a_page.value(), 64U);
  EXPECT_EQ(inside_a_page.limit(), 0U);
  EXPECT_THROW((void)Block().part(0, 1), WrongState);
  Block shared = Block::create_shared(4 * kPage);
  EXPECT_THROW((void)shared.part(0, kPage), InvalidArgument);
}

TEST(BlockPart, OfBorrowedMemoryIsCommitted) {
  std::vector<std::byte> memory(4096);
  Block whole = Block::borrow(memory);
  const Block part = whole.part(100, 200);
  EXPECT_EQ(part.data(), memory.data() + 100);
  EXPECT_EQ(part.committed(), 200U);
}

TEST(BlockPart, TellsTheHooksOfItsOwnRanges) {
  HookLedger ledger;
  {
    BlockOptions options = ledger.with();
    options.huge_pages = HugePages::never;
    Block whole = Block::reserve(8 * kPage, options);
    Block low = whole.part(0, 4 * kPage);
    Block high = whole.part(4 * kPage, 4 * kPage);
    high.commit(kPage);
    low.commit(kPage);
    ASSERT_EQ(ledger.committed().size(), 2U);
    EXPECT_EQ(ledger.committed()[0].data(), high.data());
    EXPECT_EQ(ledger.committed()[1].data(), low.data());
  }
  EXPECT_EQ(ledger.decommitted().size(), 2U);
}

TEST(TapeBehind, IsFullWithoutRoomAbove) {
  Block whole = Block::reserve(8 * kPage);
  Tape tape = Tape::behind({whole.data(), 8 * kPage}, Block(), {.name = "planned"});
  EXPECT_EQ(tape.used(), 8 * kPage);
  EXPECT_EQ(tape.total(), 8 * kPage);
  EXPECT_EQ(tape.floor(), 8 * kPage);
  EXPECT_EQ(tape.committed(), 0U);
  EXPECT_EQ(tape.data(), whole.data());
  EXPECT_EQ(tape.try_take(1), nullptr);
  EXPECT_EQ(tape.try_take(1, 1), nullptr);
  EXPECT_NE(tape.try_take(0), nullptr);
  EXPECT_FALSE(tape.try_prepare(1));
  EXPECT_THROW((void)tape.split(2), TapeFull);
  EXPECT_EQ(tape.decommit(), 0U);
  tape.clear();
  EXPECT_EQ(tape.used(), 8 * kPage);
  EXPECT_EQ(tape.stat().refused, 2U);
}

TEST(TapeBehind, TakesAboveAndClearsToTheFloor) {
  Block whole = Block::reserve(8 * kPage, {.huge_pages = HugePages::never});
  Tape tape = Tape::behind({whole.data(), 6 * kPage}, whole.part(6 * kPage, 2 * kPage),
                           {.name = "planned", .commit_step = kPage});
  EXPECT_EQ(tape.total(), 8 * kPage);
  EXPECT_EQ(tape.committed(), kPage);
  void* first = tape.take(kPage);
  EXPECT_EQ(first, whole.data() + 6 * kPage);
  Pattern(3).write(first, kPage);
  void* second = tape.take(kPage);  // commits the next step
  EXPECT_EQ(tape.committed(), 2 * kPage);
  EXPECT_EQ(tape.stat().grows, 1U);
  EXPECT_TRUE(Pattern(3).is_at(first, kPage));
  EXPECT_TRUE(tape.owns(second));
  EXPECT_TRUE(tape.owns(whole.data()));
  EXPECT_EQ(tape.peak(), 8 * kPage);
  tape.clear();
  EXPECT_EQ(tape.used(), 6 * kPage);
  EXPECT_EQ(tape.take(64), first);
}

TEST(TapeBehind, CountsWhatIsCommittedBelow) {
  Block whole = Block::reserve(8 * kPage);
  Tape tape = Tape::behind({whole.data(), 8 * kPage}, Block());
  tape.note_planned(3 * kPage, true);
  EXPECT_EQ(tape.committed(), 3 * kPage);
  EXPECT_EQ(tape.stat().committed, 3 * kPage);
  EXPECT_EQ(tape.stat().grows, 1U);
  const Tape moved = std::move(tape);
  EXPECT_EQ(moved.committed(), 3 * kPage);
}

TEST(TapeBehind, NeverTouchesWhatIsPlanned) {
  Block whole = Block::reserve(8 * kPage, {.huge_pages = HugePages::never});
  Tape tape = Tape::behind({whole.data(), 7 * kPage}, whole.part(7 * kPage, kPage),
                           {.wipe_on_clear = true});
  Pattern(4).write(tape.take(kPage), kPage);
  tape.clear();  // a wipe below the floor would fault, because nothing is committed there
  EXPECT_TRUE(all_bytes_are(tape.take(kPage), kPage, 0));
}

TEST(TapeBehind, RefusesABlockThatLiesElsewhere) {
  Block whole = Block::reserve(8 * kPage);
  EXPECT_THROW((void)Tape::behind({whole.data(), kPage}, whole.part(2 * kPage, kPage)),
               InvalidArgument);
}

}  // namespace
}  // namespace tapedeck::tests
