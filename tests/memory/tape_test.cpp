// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "memory/tape_parts.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/shared_tape.hpp"

namespace tapedeck::tests {
namespace checking = internal::checking;
namespace {

static_assert(sizeof(Tape) <= 128 && alignof(Tape) == 64);
static_assert(std::is_nothrow_move_constructible_v<Tape> &&
              std::is_nothrow_move_assignable_v<Tape>);
static_assert(!std::is_copy_constructible_v<Tape> && !std::is_copy_assignable_v<Tape>);
static_assert(TapeElement<float> && TapeElement<int*>);
static_assert(!TapeElement<std::string> && !TapeElement<std::unique_ptr<int>>);

[[nodiscard]] std::byte* bytes_at(void* at) { return static_cast<std::byte*>(at); }

// Reads bytes that a tape has released, which only a test may do.
[[nodiscard]] ::testing::AssertionResult given_back_bytes_are(const void* at, std::size_t bytes,
                                                              unsigned value) {
  checking::unpoison(reinterpret_cast<std::uintptr_t>(at), bytes);
  return all_bytes_are(at, bytes, value);
}

// As for blocks, whose tests cover all sizes.
TEST(Tape, StartRoundsUpToPagesAndRefusesSizesThatMakeNoSense) {
  EXPECT_EQ(Tape::start(kPage + 1).total(), 2 * kPage);
  EXPECT_THROW((void)Tape::start(0), InvalidArgument);
  EXPECT_THROW((void)Tape::start(kMost), InvalidArgument);
}

TEST(Tape, OverRefusesABlockWithoutAWholeLine) {
  alignas(64) std::array<std::byte, 192> memory{};
  EXPECT_THROW((void)Tape::over(Block{}), InvalidArgument);
  EXPECT_THROW((void)Tape::over(Block::borrow({memory.data() + 1, 126})), InvalidArgument);
  const auto error = thrown<InvalidArgument>([&] {
    return Tape::over(Block::borrow({memory.data(), 63}));
  });
  EXPECT_EQ(error.argument(), "block");
  EXPECT_EQ(error.value(), 63U);
  EXPECT_EQ(error.limit(), 64U);
  Tape one_line = Tape::over(Block::borrow({memory.data() + 1, 127}));
  EXPECT_EQ(one_line.total(), 64U);
  EXPECT_EQ(one_line.take(64), memory.data() + 64);
}

#ifndef NDEBUG
TEST(TapeDeathTest, AnAlignmentIsAPowerOfTwo) {
  Tape tape = Tape::start(1_MiB);
  EXPECT_DEATH((void)tape.try_take(1, 3), "has_single_bit");
  EXPECT_DEATH((void)tape.try_take(1, 0), "has_single_bit");
  EXPECT_DEATH((void)tape.try_take(0, 96), "has_single_bit");
}
#endif

// --- small alignments -----------------------------------------------------------------------

TEST(Tape, SmallTakesOfAnySizeLoseOnlyTheirAlignment) {
  Tape tape = Tape::start(1_MiB);
  const auto first = reinterpret_cast<std::uintptr_t>(tape.take(1, 1));
  std::uintptr_t end = first + 1;
  for (std::size_t i = 0; i < 2000; ++i) {
    const std::size_t align = std::size_t{1} << i % 6;
    const std::size_t bytes = 1 + i * 53 % 300;
    const auto at = reinterpret_cast<std::uintptr_t>(tape.take(bytes, align));
    ASSERT_EQ(at, round_up(end, align)) << "take " << i;
    end = at + bytes;
    EXPECT_EQ(tape.used(), round_up(end, 64) - first);
  }
}

TEST(Tape, WideTakesAndSmallOnesDoNotShareALine) {
  Tape tape = Tape::start(1_MiB);
  std::byte* small = bytes_at(tape.take(8, 8));
  std::byte* wide = bytes_at(tape.take(8, 64));
  std::byte* more = bytes_at(tape.take(8, 8));  // the open line has room
  std::byte* large = bytes_at(tape.take(100, 8));
  EXPECT_EQ(wide, small + 64);
  EXPECT_EQ(more, small + 8);
  EXPECT_EQ(large, wide + 64);
  EXPECT_EQ(tape.used(), 4 * 64U);
}

TEST(Tape, AFullTapeStillHasTheRestOfItsOpenLine) {
  Tape tape = Tape::start(4_KiB);
  (void)tape.take(4_KiB - 64);
  std::byte* small = bytes_at(tape.take(8, 8));
  EXPECT_EQ(tape.free(), 0U);
  EXPECT_EQ(tape.try_take(57, 1), nullptr);
  EXPECT_EQ(tape.try_take(56, 8), small + 8);
  EXPECT_EQ(tape.try_take(1, 1), nullptr);
  EXPECT_EQ(tape.stat().refused, 2U);
}

TEST(Tape, ClearClosesTheOpenLine) {
  Tape tape = Tape::start(1_MiB);
  const void* first = tape.take(8, 8);
  tape.clear();
  EXPECT_EQ(tape.take(64), first);
  EXPECT_EQ(tape.take(8, 8), static_cast<const std::byte*>(first) + 64);
}

// --- the floor ------------------------------------------------------------------------------

TEST(Tape, SmallTakesAboveTheFloorOpenALineOfTheirOwn) {
  Tape tape = Tape::start(1_MiB);
  std::byte* planned = bytes_at(tape.take(8, 8));
  tape.raise_floor();
  EXPECT_EQ(tape.take(8, 8), planned + 64);
  tape.clear();
  EXPECT_EQ(tape.take(8, 8), planned + 64);
}

// Bytes below the floor must not be returned again, even if they share a line with the mark.
TEST(Tape, AMarkInTheLineThatBecameTheFloorGivesNothingOfItBack) {
  Tape tape = Tape::start(1_MiB);
  (void)tape.take(8, 8);
  const Tape::Mark mark = tape.mark();
  std::byte* planned = bytes_at(tape.take(8, 8));
  Pattern(3).write(planned, 8);
  tape.raise_floor();
  tape.rewind(mark);
  EXPECT_TRUE(Pattern(3).is_at(planned, 8)) << "planned bytes were released";
  std::byte* next = bytes_at(tape.take(8, 8));
  EXPECT_GE(next, planned + 8) << "planned bytes were taken again";
}

// --- moving ---------------------------------------------------------------------------------

TEST(Tape, MovesWithEverythingItHolds) {
  LedgerSpill source;
  Tape from = Tape::start(4_KiB, {.name = "moved", .spill = &source});
  std::byte* small = bytes_at(from.take(8, 8));
  (void)from.take(1000);
  void* spilled = from.take(5000);
  Pattern(4).write(spilled, 5000);
  Tape to = std::move(from);
  EXPECT_EQ(to.name(), "moved");
  EXPECT_EQ(to.used(), 64U + 1024U);
  EXPECT_TRUE(to.owns(small) && to.owns(spilled));
  EXPECT_EQ(to.take(8, 8), small + 8);
  EXPECT_TRUE(Pattern(4).is_at(spilled, 5000));
  EXPECT_EQ(to.stat().spilled, 5000U);
  to.clear();
  EXPECT_EQ(source.blocks(), 0U);
}

TEST(Tape, AssignmentGivesBackWhatTheTapeHad) {
  const NothingLeft check;
  LedgerSpill source;
  Tape tape = Tape::start(4_KiB, {.name = "first", .spill = &source});
  (void)tape.take(5000);
  tape = Tape::start(1_MiB, {.name = "second"});
  EXPECT_EQ(source.blocks(), 0U);
  EXPECT_EQ(tape.name(), "second");
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_NE(tape.take(500'000), nullptr);
  tape = Tape();
  EXPECT_EQ(tape.total(), 0U);
}

// --- what clear does to the bytes -----------------------------------------------------------

// Without wipe-on-clear and outside debug builds, clear moves the head and touches no byte.
TEST(Tape, ClearAndRewindAreOfConstantTime) {
  if (internal::kFillOnGiveBack)
    GTEST_SKIP() << "a debug build of the library fills cleared memory";
  Tape tape = Tape::start(64_MiB, {.block = {.huge_pages = HugePages::never}});
  const Tape::Mark mark = tape.mark();
  void* taken = tape.take(64_MiB);
  std::memset(taken, 0x5A, 1000);
  tape.rewind(mark);
  EXPECT_TRUE(given_back_bytes_are(taken, 1000, 0x5A));
  (void)tape.take(64_MiB);
  tape.clear();
  EXPECT_TRUE(given_back_bytes_are(taken, 1000, 0x5A));
  const Residency residency = tape.residency();
  if (!residency.present) GTEST_SKIP() << "the kernel does not report which pages are present";
  EXPECT_LE(*residency.present, kPage);
}

TEST(Tape, WipeOnClearZeroesWhatIsGivenBackAndDebugBuildsFillIt) {
  for (const bool wipe : {true, false}) {
    if (!wipe && !internal::kFillOnGiveBack) continue;
    const unsigned value = wipe ? 0 : internal::kGivenBack;
    Tape tape = Tape::start(1_MiB, {.wipe_on_clear = wipe});
    std::byte* planned = bytes_at(tape.take(64));
    std::memset(planned, 1, 64);
    tape.raise_floor();
    std::byte* small = bytes_at(tape.take(8, 8));
    std::memset(small, 2, 8);
    const Tape::Mark mark = tape.mark();
    std::memset(tape.take(40, 8), 3, 40);  // the packed tail of the open line
    std::byte* wide = bytes_at(tape.take(5000));
    std::memset(wide, 4, 5000);
    tape.rewind(mark);
    EXPECT_TRUE(all_bytes_are(small, 8, 2));
    EXPECT_TRUE(given_back_bytes_are(small + 8, 56, value));
    EXPECT_TRUE(given_back_bytes_are(wide, 5000, value));
    tape.clear();
    EXPECT_TRUE(given_back_bytes_are(small, 64, value));
    EXPECT_TRUE(all_bytes_are(planned, 64, 1));
  }
}

TEST(Tape, WipeOnClearZeroesBorrowedMemoryInTheEnd) {
  std::vector<std::byte> memory(8192, std::byte{0x11});
  std::byte* first = nullptr;
  {
    Tape tape = Tape::over(Block::borrow(memory), {.wipe_on_clear = true});
    first = bytes_at(tape.take(64));
    std::memset(first, 7, 64);
    tape.raise_floor();
    std::memset(tape.take(1000), 8, 1000);
    tape.clear();
    std::memset(tape.take(500), 9, 500);
  }
  EXPECT_TRUE(all_bytes_are(first, 64 + 1024, 0)) << "including the bytes below the floor";
}

TEST(Tape, WipeOnClearZeroesSpilledBlocks) {
  LedgerSpill source;
  const auto spill_a_secret = [&](Tape& tape) {
    std::byte* at = bytes_at(tape.take(5000));
    std::memset(at, 0x77, 5000);
    source.secret = {at, 5000};
  };
  {
    Tape tape = Tape::start(4_KiB, {.wipe_on_clear = true, .spill = &source});
    spill_a_secret(tape);
    tape.clear();
    EXPECT_TRUE(source.secret.empty()) << "the block was not returned";
    const Tape::Mark mark = tape.mark();
    spill_a_secret(tape);
    tape.rewind(mark);
    EXPECT_TRUE(source.secret.empty());
    spill_a_secret(tape);
  }
  EXPECT_TRUE(source.secret.empty());
}

// Each way of making a tape obeys the option, even if nothing of the tape itself can be written to.
TEST(Tape, WipeOnClearZeroesSpilledBlocksOfEveryTape) {
  LedgerSpill source;
  const TapeOptions options = {.wipe_on_clear = true, .spill = &source};
  const TempFolder folder;
  std::vector<std::byte> borrowed(4096);
  std::vector<std::byte> planned(4096);
  Tape split = Tape::start(4_KiB, options);
  std::vector<Tape> tapes;
  tapes.push_back(std::move(split.split(1)[0]));
  tapes.push_back(Tape::start(4_KiB, options));
  tapes.push_back(Tape::start_warm(4_KiB, options));
  tapes.push_back(Tape::over(Block::borrow(borrowed), options));
  tapes.push_back(Tape::over(Block::create_shared(4_KiB), options));
  tapes.push_back(Tape::over(Block::map_file(folder.write("model.bin", "x")), options));
  tapes.push_back(Tape::behind(planned, Block(), options));
  for (Tape& tape : tapes) {
    SCOPED_TRACE(std::to_string(&tape - tapes.data()));
    std::byte* at = bytes_at(tape.take(5000));
    std::memset(at, 0x77, 5000);
    source.secret = {at, 5000};
    tape.clear();
    EXPECT_TRUE(source.secret.empty());
  }
}

// The bytes beyond the committed end cannot be wiped, and do not need to be.
TEST(Tape, AWipingTapeCanGoAfterDecommit) {
  for (const std::size_t kept : {std::size_t{0}, 3 * kPage}) {
    Tape tape = Tape::start(1_MiB, {.wipe_on_clear = true});
    if (kept != 0) std::memset(tape.take(kept), 5, kept);
    const Tape::Mark mark = tape.mark();
    std::memset(tape.take(512_KiB), 6, 512_KiB);
    tape.rewind(mark);
    EXPECT_EQ(tape.decommit(), tape.total() - kept);
  }
  Tape shared = Tape::over(Block::create_shared(1_MiB), {.wipe_on_clear = true});
  std::memset(shared.take(512_KiB), 6, 512_KiB);
  shared.clear();
  EXPECT_GT(shared.decommit(), 0U);
}

// Regression: the errors of three tapes of a layout were the same.
TEST(Tape, ItsNameIsInTheErrorsOfItsMemory) {
  for (const std::size_t bytes : {std::size_t{0}, kMost, kMost / 4}) {
    const auto refused =
        thrown<InvalidArgument>([&] { (void)Tape::start(bytes, {.name = "cache"}); });
    EXPECT_TRUE(refused.message().starts_with("tape cache ")) << refused.what();
    EXPECT_TRUE(thrown<InvalidArgument>([&] { (void)SharedTape::start(bytes, {.name = "all"}); })
                    .message()
                    .starts_with("tape all "));
  }
  EXPECT_TRUE(
      thrown<InvalidArgument>([] { (void)Block::reserve(0); }).message().starts_with("a block "));
  const auto unmapped =
      thrown<SystemError>([] { (void)Tape::start(kMost / 8, {.name = "cache"}); });
  EXPECT_EQ(unmapped.object(), "tape cache");
  EXPECT_EQ(unmapped.call(), "mmap");
}

// --- over a file ----------------------------------------------------------------------------

TEST(Tape, AMappedFilesTapeIsFullFromTheStart) {
  const TempFolder folder;
  std::string content(10'000, '\0');
  Pattern(9).write(content.data(), content.size());
  Tape tape = Tape::over(Block::map_file(folder.write("model.bin", content)), {.name = "file"});
  EXPECT_EQ(tape.total(), round_up(content.size(), 64));
  EXPECT_EQ(tape.used(), tape.total());
  EXPECT_EQ(tape.floor(), tape.total());
  EXPECT_EQ(tape.free(), 0U);
  EXPECT_EQ(tape.peak(), tape.total());
  EXPECT_EQ(tape.committed(), tape.total());
  EXPECT_EQ(tape.try_take(1), nullptr);
  EXPECT_EQ(tape.try_take(1, 1), nullptr);
  EXPECT_NE(tape.try_take(0), nullptr);
  EXPECT_FALSE(tape.try_prepare(1));
  tape.clear();
  EXPECT_EQ(tape.used(), tape.total());
  EXPECT_TRUE(tape.owns(tape.block().data() + 9999));
  EXPECT_TRUE(Pattern(9).is_at(tape.block().data(), content.size()));
}

TEST(Tape, AMappedFilesTapeIsNeverWrittenNotEvenByAWipe) {
  const TempFolder folder;
  const std::string content(5000, 'x');
  const auto path = folder.write("model.bin", content);
  {
    Tape tape = Tape::over(Block::map_file(path), {.wipe_on_clear = true});
    tape.clear();
    tape.decommit();
    EXPECT_TRUE(all_bytes_are(tape.block().data(), 5000, 'x'));
  }
  EXPECT_EQ(text_of(path.string()), content);
}

}  // namespace
}  // namespace tapedeck::tests
