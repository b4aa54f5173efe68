// SPDX-License-Identifier: Apache-2.0
// A program of its own, because mimalloc's library replaces the malloc of every program that links
// it.

#include "tapedeck/memory/mimalloc_spill.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "memory/pattern.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {
namespace {

TEST(MimallocSpill, GivesAlignedBlocks) {
  SpillSource& source = mimalloc_spill();
  EXPECT_EQ(&source, &mimalloc_spill());
  for (std::size_t align = 64; align <= 1_MiB; align *= 2) {
    void* block = source.allocate(3 * align, align);
    ASSERT_NE(block, nullptr) << align;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % align, 0U);
    Pattern(align).write(block, 3 * align);
    EXPECT_TRUE(Pattern(align).is_at(block, 3 * align));
    source.deallocate(block, 3 * align, align);
  }
}

TEST(MimallocSpill, AFullTapeGoesOn) {
  Tape tape = Tape::start(64_KiB, {.name = "scratch", .spill = &mimalloc_spill()});
  for (int pass = 0; pass < 10; ++pass) {
    std::vector<void*> taken;
    for (std::size_t i = 0; i < 100; ++i) {
      taken.push_back(tape.take(5000, std::size_t{1} << i % 13));
      Pattern(i).write(taken.back(), 5000);
    }
    EXPECT_GT(tape.stat().spills, 80U);
    for (std::size_t i = 0; i < 100; ++i) {
      EXPECT_TRUE(tape.owns(taken[i]));
      ASSERT_TRUE(Pattern(i).is_at(taken[i], 5000)) << i;
    }
    tape.clear();
    EXPECT_EQ(tape.stat().spilled, 0U);
  }
}

TEST(MimallocSpill, RefusesWhatCannotBeAndTheTapeSaysSo) {
  Tape tape = Tape::start(4_KiB, {.spill = &mimalloc_spill()});
  EXPECT_EQ(mimalloc_spill().allocate(std::numeric_limits<std::size_t>::max() / 2, 64), nullptr);
  EXPECT_THROW((void)tape.take(std::size_t{1} << 60), TapeFull);
  EXPECT_THROW((void)tape.take(std::numeric_limits<std::size_t>::max()), TapeFull);
  EXPECT_EQ(tape.stat().refused, 2U);
}

// A mimalloc heap belongs to the thread that created it, and ends with it. These blocks must not.
TEST(MimallocSpill, BlocksOutliveTheThreadThatTookThem) {
  Tape tape = Tape::start(4_KiB, {.spill = &mimalloc_spill()});
  std::vector<void*> taken;
  for (int i = 0; i < 8; ++i) {
    std::jthread([&] {
      taken.push_back(tape.take(20'000));
      Pattern(taken.size()).write(taken.back(), 20'000);
    }).join();
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_TRUE(Pattern(i + 1).is_at(taken[i], 20'000));
  }
  std::jthread([&] { tape.clear(); }).join();
  EXPECT_EQ(tape.stat().spilled, 0U);
}

}  // namespace
}  // namespace tapedeck::tests
