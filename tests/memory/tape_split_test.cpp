// SPDX-License-Identifier: Apache-2.0
// Child tapes: one per worker, owned and cleared by the parent.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace checking = internal::checking;
namespace {

TEST(TapeSplit, GivesEqualPartsOfWhatIsFree) {
  Tape tape = Tape::start(1_MiB, {.name = "scratch"});
  const std::span<Tape> children = tape.split(3);
  ASSERT_EQ(children.size(), 3U);
  const std::size_t part = round_down(1_MiB / 3, 64);
  const std::byte* next = tape.block().data();
  for (Tape& child : children) {
    EXPECT_EQ(child.total(), part);
    EXPECT_EQ(child.committed(), part);
    EXPECT_EQ(child.used(), 0U);
    EXPECT_EQ(child.name(), "scratch");
    EXPECT_EQ(child.take(part), next);
    EXPECT_EQ(child.try_take(1), nullptr);
    EXPECT_TRUE(tape.owns(next));
    next += part;
  }
  EXPECT_EQ(tape.children().data(), children.data());
  EXPECT_EQ(tape.children().size(), 3U);
}

TEST(TapeSplit, TheChildrenLieBelowTheFloor) {
  Tape tape = Tape::start(1_MiB);
  (void)tape.take(1000);
  tape.raise_floor();
  const std::span<Tape> children = tape.split(2);
  const std::size_t part = round_down((1_MiB - 1024) / 2, 64);
  EXPECT_EQ(tape.floor(), 1024 + 2 * part);
  EXPECT_EQ(tape.used(), tape.floor());
  EXPECT_EQ(children[0].take(1), tape.block().data() + 1024);
  tape.clear();
  EXPECT_EQ(tape.used(), 1024 + 2 * part);
}

TEST(TapeSplit, WhatIsLeftOverIsTheParents) {
  Tape tape = Tape::start(4_KiB);
  (void)tape.split(3);  // 21 lines each, and 1 is left
  EXPECT_EQ(tape.free(), 64U);
  auto* rest = static_cast<std::byte*>(tape.take(64));
  std::memset(rest, 1, 64);
  for (Tape& child : tape.children()) EXPECT_FALSE(child.owns(rest));
}

TEST(TapeSplit, OneWorkerEach) {
  Tape tape = Tape::start(4_MiB, {.commit_step = 64_KiB});
  const std::span<Tape> children = tape.split(4);
  EXPECT_EQ(tape.committed(), 4_MiB) << "no worker grows the tape";
  for (int pass = 0; pass < 3; ++pass) {
    {
      std::vector<std::jthread> workers;
      for (std::size_t i = 0; i < 4; ++i) {
        workers.emplace_back([&child = children[i], i] {
          std::vector<void*> taken;
          while (void* at = child.try_take(1000)) {
            Pattern(i).write(at, 1000);
            taken.push_back(at);
          }
          EXPECT_EQ(taken.size(), 1024U);
          for (void* at : taken) ASSERT_TRUE(Pattern(i).is_at(at, 1000));
        });
      }
    }
    tape.clear();
    for (const Tape& child : children) EXPECT_EQ(child.used(), 0U);
  }
  for (const Tape& child : children) EXPECT_EQ(child.clears(), 3U);
  EXPECT_EQ(tape.stat().grows, 1U) << "by the split itself";
}

TEST(TapeSplit, ChildrenCanBeSplitAgain) {
  Tape tape = Tape::start(1_MiB);
  Tape& child = tape.split(2)[0];
  Tape& grandchild = child.split(2)[1];
  (void)grandchild.take(1000);
  tape.clear();
  EXPECT_EQ(grandchild.used(), 0U);
}

TEST(TapeSplit, WorksOverBorrowedMemoryAtOddAddresses) {
  std::vector<std::byte> memory(10'001);
  Tape tape = Tape::over(Block::borrow(std::span(memory).subspan(3)));
  for (Tape& child : tape.split(5)) {
    void* at = child.take(child.total());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 64, 0U);
    std::memset(at, 1, child.total());
  }
}

TEST(TapeSplit, RefusesWhatMakesNoSense) {
  Tape tape = Tape::start(1_MiB, {.name = "scratch"});
  EXPECT_THROW((void)tape.split(0), InvalidArgument);
  (void)tape.take(1);
  EXPECT_EQ(thrown<WrongState>([&] { return tape.split(2); }).state(), ObjectState::in_use);
  tape.clear();
  (void)tape.split(2);
  EXPECT_EQ(thrown<WrongState>([&] { return tape.split(2); }).state(), ObjectState::in_use);
  EXPECT_EQ(tape.children().size(), 2U);
  EXPECT_THROW((void)Tape().split(1), TapeFull);
}

TEST(TapeSplit, RefusesMoreChildrenThanLinesAndStaysAsItWas) {
  Tape tape = Tape::start(4_KiB, {.name = "scratch", .commit_step = 1});
  const TapeStat before = tape.stat();
  for (const std::size_t n : {std::size_t{65}, std::size_t{1} << 58, kMost}) {
    const auto full = thrown<TapeFull>([&] { return tape.split(n); });
    // A line for each; a product that wraps would be small.
    EXPECT_GT(full.requested(), full.total()) << n << " children";
  }
  EXPECT_TRUE(tape.children().empty());
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.stat().planned, before.planned);
  EXPECT_EQ(tape.split(64).size(), 64U);
}

TEST(TapeSplit, AMovedParentTakesItsChildrenAlong) {
  Tape from = Tape::start(1_MiB);
  const std::span<Tape> children = from.split(2);
  void* at = children[1].take(1000);
  Pattern(1).write(at, 1000);
  Tape to = std::move(from);
  EXPECT_TRUE(from.children().empty());  // NOLINT(bugprone-use-after-move): that is the test
  EXPECT_EQ(to.children().data(), children.data());
  EXPECT_TRUE(Pattern(1).is_at(at, 1000));
  EXPECT_NE(children[0].take(1000), nullptr);
  to.clear();
  EXPECT_EQ(children[0].used() + children[1].used(), 0U);
}

TEST(TapeSplit, ChildrenSpillWhereTheParentWould) {
  LedgerSpill source;
  {
    Tape tape = Tape::start(4_KiB, {.spill = &source});
    const std::span<Tape> children = tape.split(2);
    (void)children[0].take(10'000);
    (void)children[1].take(10'000);
    EXPECT_EQ(source.blocks(), 2U);
    EXPECT_EQ(children[0].stat().spilled, 10'000U);
    tape.clear();
    EXPECT_EQ(source.blocks(), 0U);
    (void)children[1].take(10'000);
  }
  EXPECT_EQ(source.blocks(), 0U) << "destroying the parent must destroy its children";
}

TEST(TapeSplit, AWipingParentHasWipingChildren) {
  std::vector<std::byte> memory(8_KiB, std::byte{0xEE});
  Tape tape = Tape::over(Block::borrow(memory), {.wipe_on_clear = true});
  Tape& child = tape.split(2)[1];
  auto* at = static_cast<std::byte*>(child.take(1000));
  std::memset(at, 9, 1000);
  tape.clear();
  checking::unpoison(reinterpret_cast<std::uintptr_t>(at), 1000);
  EXPECT_TRUE(all_bytes_are(at, 1000, 0));
}

TEST(TapeSplit, LeavesNothingBehind) {
  const NothingLeft check;
  Tape tape = Tape::start(1_MiB);
  for (Tape& child : tape.split(8)) (void)child.take(1000);
}

}  // namespace
}  // namespace tapedeck::tests
