// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/spill_source.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "memory/tape_kinds.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {
namespace {

class Spill : public ::testing::Test {
 protected:
  LedgerSpill source_;
  Tape tape_ = Tape::start(4_KiB, {.name = "scratch", .spill = &source_});
};

TEST_F(Spill, NothingIsSpilledWhileThereIsRoom) {
  (void)tape_.take(4_KiB);
  EXPECT_EQ(source_.asked(), 0U);
  EXPECT_NE(tape_.try_take(0), nullptr);
  EXPECT_NE(tape_.try_take(0, 4096), nullptr);
  EXPECT_EQ(source_.asked(), 0U);
}

TEST_F(Spill, AFullTapeGivesFromItsSource) {
  void* at = tape_.take(10'000);
  ASSERT_NE(at, nullptr);
  EXPECT_TRUE(source_.holds(at));
  EXPECT_TRUE(source_.holds(static_cast<std::byte*>(at) + 9999));
  Pattern(1).write(at, 10'000);
  EXPECT_TRUE(Pattern(1).is_at(at, 10'000));
  EXPECT_EQ(tape_.used(), 0U);
  EXPECT_EQ(tape_.peak(), 0U);
  EXPECT_EQ(tape_.free(), 4_KiB);
  EXPECT_EQ(tape_.stat().refused, 0U);
  // The tape itself still has room for smaller takes.
  EXPECT_FALSE(source_.holds(tape_.take(1000)));
}

TEST_F(Spill, EveryAlignmentHolds) {
  (void)tape_.take(4_KiB);
  for (std::size_t align = 1; align <= 2_MiB; align *= 2) {
    auto* at = static_cast<std::byte*>(tape_.take(100, align));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % align, 0U);
    EXPECT_TRUE(source_.holds(at) && source_.holds(at + 99));
    Pattern(align).write(at, 100);
  }
  EXPECT_EQ(tape_.stat().spills, 22U);
  tape_.clear();
}

TEST_F(Spill, OwnsTheBytesOfItsSpilledBlocksAndNoOthers) {
  (void)tape_.take(4_KiB);
  auto* a = static_cast<std::byte*>(tape_.take(1000));
  auto* b = static_cast<std::byte*>(tape_.take(64));
  for (const std::byte* at : {a, a + 999, b, b + 63}) EXPECT_TRUE(tape_.owns(at));
  EXPECT_FALSE(tape_.owns(a - 1));
  EXPECT_FALSE(tape_.owns(a + 1000));
  EXPECT_FALSE(tape_.owns(nullptr));
  tape_.clear();
  EXPECT_FALSE(tape_.owns(a));
  EXPECT_FALSE(tape_.owns(b));
}

TEST_F(Spill, ClearGivesEveryBlockBack) {
  for (int pass = 0; pass < 3; ++pass) {
    for (std::size_t i = 1; i <= 20; ++i) (void)tape_.take(1000 * i, std::size_t{1} << i % 10);
    EXPECT_GE(source_.blocks(), 16U);
    tape_.clear();
    EXPECT_EQ(source_.blocks(), 0U);
  }
}

TEST_F(Spill, TheEndOfTheTapeGivesEveryBlockBack) {
  (void)tape_.take(5000);
  (void)tape_.take(6000);
  tape_ = Tape();
  EXPECT_EQ(source_.blocks(), 0U);
}

TEST_F(Spill, ASourceThatHasNothingIsAFullTape) {
  source_.open = false;
  EXPECT_EQ(tape_.try_take(5000), nullptr);
  EXPECT_EQ(tape_.try_take(5000, 8), nullptr);
  EXPECT_EQ(tape_.try_take(5000, 4096), nullptr);
  const auto full = thrown<TapeFull>([&] { return tape_.take(5000); });
  EXPECT_EQ(full.requested(), 5000U);
  EXPECT_EQ(full.used(), 0U);
  EXPECT_EQ(full.total(), 4_KiB);
  EXPECT_EQ(tape_.stat().refused, 4U);
  EXPECT_EQ(tape_.stat().spills, 0U);
  EXPECT_EQ(tape_.stat().spilled, 0U);
  source_.open = true;
  EXPECT_NE(tape_.try_take(5000), nullptr);
}

// A block has a header, and a size that wraps when it is added must not become a small block.
TEST_F(Spill, ASizeThatWrapsIsNotEvenAskedFor) {
  for (const std::size_t less : {0U, 1U, 39U, 40U, 62U, 63U}) {
    EXPECT_EQ(tape_.try_take(kMost - less), nullptr);
    EXPECT_EQ(tape_.try_take(kMost - less, 1), nullptr);
  }
  EXPECT_EQ(tape_.try_take(kMost - 4095, 4096), nullptr);
  EXPECT_EQ(tape_.try_take(std::size_t{1} << 63, std::size_t{1} << 63), nullptr);
  EXPECT_EQ(source_.asked(), 0U);
}

TEST_F(Spill, AGrowthThatIsRefusedSpills) {
  bool refuse = false;
  Tape tape = Tape::start(
      1_MiB,
      {.commit_step = 4_KiB, .spill = &source_, .block = refusing_while<BlockOptions>(refuse)});
  refuse = true;
  void* at = tape.take(10'000);
  EXPECT_TRUE(source_.holds(at));
  EXPECT_EQ(tape.stat().spills, 1U);
  refuse = false;
  EXPECT_FALSE(source_.holds(tape.take(10'000)));
}

TEST_F(Spill, SmallTakesGoOnInTheOpenLineAfterASpill) {
  auto* small = static_cast<std::byte*>(tape_.take(8, 8));
  (void)tape_.take(5000, 8);
  EXPECT_EQ(tape_.take(8, 8), small + 8);
  EXPECT_EQ(tape_.used(), 64U);
}

// The list of spilled blocks is not bound to a thread, as a heap would be.
TEST_F(Spill, BlocksMayComeBackOnAnotherThread) {
  std::jthread([&] {
    (void)tape_.take(5000);
    (void)tape_.take(6000);
  }).join();
  (void)tape_.take(7000);
  std::jthread([&] { tape_.clear(); }).join();
  EXPECT_EQ(source_.blocks(), 0U);
  std::jthread([&] { (void)tape_.take(5000); }).join();
}

TEST_F(Spill, BytesLeftWithoutAClearComeBackWithTheTapeOnAnotherThread) {
  std::jthread([tape = std::move(tape_)]() mutable { (void)tape.take(5000); }).join();
  EXPECT_EQ(source_.blocks(), 0U);
}

TEST(SpillSource, ServesSeveralTapes) {
  LedgerSpill source;
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Tape tape = Tape::start(4_KiB, {.spill = &source});
      for (int pass = 0; pass < 200; ++pass) {
        std::memset(tape.take(5000), pass, 5000);
        if (pass % 5 == 0) tape.clear();
      }
    });
  }
}

}  // namespace
}  // namespace tapedeck::tests
