// SPDX-License-Identifier: Apache-2.0
// The use of memory that a tape has cleared must be reported: at the faulting line under
// AddressSanitizer, and by memcheck under Valgrind.

#include "tapedeck/memory/checking.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/paths.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/program.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace checking = internal::checking;
namespace {

#if defined(TAPEDECK_ASAN)

constexpr const char* kDeath = "AddressSanitizer: use-after-poison";

void touch(const void* at) { static_cast<void>(*static_cast<const volatile char*>(at)); }

[[nodiscard]] bool is_poisoned(const void* at) { return __asan_address_is_poisoned(at) != 0; }

// A range must be poisoned completely or not at all.
[[nodiscard]] bool all_poisoned(const std::byte* at, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (!is_poisoned(at + i)) return false;
  }
  return true;
}
[[nodiscard]] bool none_poisoned(std::byte* at, std::size_t bytes) {
  return __asan_region_is_poisoned(at, bytes) == nullptr;
}

class CheckingDeathTest : public ::testing::Test {
 protected:
  std::byte* take(std::size_t bytes, std::size_t align = kLine) {
    auto* at = static_cast<std::byte*>(tape_.take(bytes, align));
    std::memset(at, 1, bytes);
    return at;
  }

  Tape tape_ = Tape::start(1_MiB);
};

TEST_F(CheckingDeathTest, AfterClear) {
  const std::byte* at = take(1000);
  touch(at);
  tape_.clear();
  EXPECT_DEATH(touch(at), kDeath);
  EXPECT_DEATH(touch(at + 999), kDeath);
  EXPECT_TRUE(all_poisoned(at, 1024));
}

TEST_F(CheckingDeathTest, AfterRewind) {
  std::byte* kept = take(100);
  const Tape::Mark mark = tape_.mark();
  const std::byte* at = take(1000);
  tape_.rewind(mark);
  EXPECT_DEATH(touch(at), kDeath);
  EXPECT_TRUE(all_poisoned(at, 1024));
  EXPECT_TRUE(none_poisoned(kept, 100));
}

TEST_F(CheckingDeathTest, TheTailOfAnOpenLine) {
  std::byte* kept = take(3, 1);
  const Tape::Mark mark = tape_.mark();
  const std::byte* at = take(5, 1);
  const std::byte* over = take(100, 4);
  tape_.rewind(mark);
  EXPECT_DEATH(touch(at + 4), kDeath);
  EXPECT_TRUE(all_poisoned(at, 5));
  EXPECT_TRUE(all_poisoned(over, 100));
  EXPECT_TRUE(none_poisoned(kept, 3));
}

// In a second pass over the same lines, the padding between takes is still poisoned.
TEST_F(CheckingDeathTest, BehindTheExactEndOfATake) {
  (void)take(1_MiB);
  tape_.clear();
  std::byte* wide = take(100);
  std::byte* next = take(1);
  EXPECT_TRUE(none_poisoned(wide, 100));
  EXPECT_DEATH(touch(wide + 100), kDeath);
  EXPECT_TRUE(all_poisoned(wide + 100, 28));
  EXPECT_DEATH(touch(next + 1), kDeath);
  std::byte* small = take(10, 2);
  EXPECT_DEATH(touch(small + 10), kDeath);
  std::byte* aligned = take(10, 4096);
  EXPECT_DEATH(touch(aligned - 1), kDeath);
}

TEST_F(CheckingDeathTest, WhatIsTakenAgainIsUsable) {
  for (int pass = 0; pass < 3; ++pass) {
    for (std::size_t i = 1; i < 200; ++i) {
      const std::size_t align = std::size_t{1} << i % 9;
      EXPECT_TRUE(none_poisoned(take(i, align), i)) << i << " at " << align;
    }
    tape_.clear();
  }
}

TEST_F(CheckingDeathTest, WhatLiesBelowTheFloorIsUsable) {
  std::byte* planned = take(1000);
  tape_.raise_floor();
  const std::byte* at = take(1000);
  tape_.clear();
  EXPECT_TRUE(none_poisoned(planned, 1000));
  EXPECT_TRUE(all_poisoned(at, 1000));
}

TEST_F(CheckingDeathTest, FarBehindATakeThatIsTheFirst) {
  const std::byte* at = take(1000);
  EXPECT_DEATH(touch(at + 40'000), kDeath);
  EXPECT_TRUE(all_poisoned(at + 1024, 1_MiB - 1024));
}

// The whole reserve is never poisoned, because that costs shadow memory and time.
TEST_F(CheckingDeathTest, OnlyWhatIsCommittedIsPoisoned) {
  tape_ = Tape::start(1_MiB, {.commit_step = 64_KiB});
  const std::byte* at = take(1000);
  EXPECT_TRUE(all_poisoned(at + 1024, 63_KiB));
  EXPECT_FALSE(is_poisoned(at + 64_KiB));
  (void)take(64_KiB);
  EXPECT_TRUE(is_poisoned(at + 128_KiB - 1));
  tape_.clear();
  (void)tape_.decommit();
  EXPECT_FALSE(is_poisoned(at));
  EXPECT_FALSE(is_poisoned(at + 128_KiB - 1));
}

// A tape of a plan is usable where its regions are, and poisoned above them.
TEST_F(CheckingDeathTest, PlannedBytesAreUsableFromTheStart) {
  tape_.take_planned(1000);
  EXPECT_TRUE(none_poisoned(tape_.data(), 1000));
  EXPECT_TRUE(all_poisoned(tape_.data() + 1024, 1000));
}

TEST_F(CheckingDeathTest, AChildsBytesAfterTheParentsClear) {
  Tape& child = tape_.split(2)[1];
  void* at = child.take(100);
  tape_.clear();
  EXPECT_DEATH(touch(at), kDeath);
}

TEST_F(CheckingDeathTest, ASharedTapesBytesAfterItsClear) {
  SharedTape tape = SharedTape::start(64_KiB);
  auto* at = static_cast<std::byte*>(tape.take(100));
  tape.clear();
  EXPECT_DEATH(touch(at), kDeath);
  EXPECT_EQ(tape.take(50), at);
  EXPECT_TRUE(none_poisoned(at, 50));
  EXPECT_DEATH(touch(at + 50), kDeath);
}

TEST_F(CheckingDeathTest, ASpilledBlockAfterClear) {
  LedgerSpill heap;
  Tape tape = Tape::start(4_KiB, {.spill = &heap});
  const void* at = tape.take(10'000);
  touch(at);
  tape.clear();
  EXPECT_DEATH(touch(at), "AddressSanitizer: heap-use-after-free");
}

/// A pool of one block, which is used again and again.
struct PoolOfOne final : SpillSource {
  void* allocate(std::size_t bytes, std::size_t /*align*/) noexcept override {
    return bytes <= sizeof memory ? static_cast<void*>(memory) : nullptr;
  }
  void deallocate(void* block, std::size_t /*bytes*/, std::size_t /*align*/) noexcept override {
    std::memset(block, 1, kLine);  // as a pool that links its free blocks does
  }
  [[nodiscard]] bool keeps_memory() const noexcept override { return true; }
  alignas(kLine) std::byte memory[10'000]{};
};

TEST_F(CheckingDeathTest, ASpilledBlockThatItsSourceKeeps) {
  PoolOfOne pool;
  Tape tape = Tape::start(4_KiB, {.spill = &pool});
  auto* at = static_cast<std::byte*>(tape.take(5000));
  std::memset(at, 1, 5000);
  tape.clear();
  EXPECT_DEATH(touch(at), kDeath);
  EXPECT_TRUE(all_poisoned(at, 5000));
  EXPECT_EQ(tape.take(6000), at);
  EXPECT_TRUE(none_poisoned(at, 6000));
  tape = Tape();
  checking::unpoison(reinterpret_cast<std::uintptr_t>(pool.memory), sizeof pool.memory);
}

TEST_F(CheckingDeathTest, BorrowedMemoryIsItsOwnersAgain) {
  std::vector<std::byte> memory(10'001);
  {
    Tape tape = Tape::over(Block::borrow(memory));
    (void)tape.take(tape.free(), 1);
    tape.clear();
    (void)tape.take(100, 1);
    (void)tape.take(100);
    EXPECT_FALSE(none_poisoned(memory.data(), memory.size()));
  }
  EXPECT_TRUE(none_poisoned(memory.data(), memory.size()));
  {
    Tape tape = Tape::over(Block::borrow(memory));
    for (Tape& child : tape.split(3)) (void)child.take(child.free());
    tape.clear();
  }
  EXPECT_TRUE(none_poisoned(memory.data(), memory.size()));
  {
    SharedTape tape = SharedTape::over(Block::borrow(memory));
    (void)tape.take(5000);
    tape.clear();
    (void)tape.take(1);
  }
  EXPECT_TRUE(none_poisoned(memory.data(), memory.size()));
}

// The addresses of a destroyed tape may be reused for other memory.
TEST_F(CheckingDeathTest, AddressesAreClearedForTheNextMapping) {
  std::byte* at = take(1_MiB);
  tape_.clear();
  tape_ = Tape();
  for (std::size_t i = 0; i < 1_MiB; i += 4096) ASSERT_FALSE(is_poisoned(at + i));
}

TEST_F(CheckingDeathTest, DecommittedPagesCanBeTakenAgain) {
  (void)take(512_KiB);
  tape_.clear();
  tape_.decommit();
  EXPECT_TRUE(none_poisoned(take(600_KiB), 600_KiB));
}

#else

TEST(CheckingDeathTest, AfterClear) { GTEST_SKIP() << "built without AddressSanitizer"; }

#endif

// --- red zones ------------------------------------------------------------------------------

#if defined(TAPEDECK_RED_ZONED)

[[nodiscard]] Ran run_with_red_zones(const std::string& mistake) {
#if defined(TAPEDECK_ASAN)
  const std::string checker;
#else
  const std::string checker = "valgrind --quiet --error-exitcode=9 ";
#endif
  return run_program(checker + built_path("tapedeck_red_zones").string() + " " + mistake);
}

TEST(RedZones, LeaveWhatIsAllowedAlone) {
  const Ran ran = run_with_red_zones("none");
  EXPECT_EQ(ran.exit_code, 0) << ran.output;
}

TEST(RedZones, ReportAnOverrunIntoTheNextTake) {
  for (const char* mistake : {"wide", "packed", "aligned", "shared"}) {
    const Ran ran = run_with_red_zones(mistake);
    EXPECT_NE(ran.exit_code, 0) << mistake;
    EXPECT_NE(ran.output.find(kSanitized ? "use-after-poison" : "Invalid read"), std::string::npos)
        << mistake << ": " << ran.output;
  }
}

#else

TEST(RedZones, ReportAnOverrunIntoTheNextTake) {
  GTEST_SKIP() << "needs AddressSanitizer, or a build with TAPEDECK_VALGRIND and valgrind";
}

#endif

// --- memcheck -------------------------------------------------------------------------------

#if defined(TAPEDECK_USE_AFTER)

[[nodiscard]] Ran run_under_memcheck(const std::string& mistake) {
  return run_program("valgrind --quiet --error-exitcode=9 " +
                     built_path("tapedeck_use_after").string() + " " + mistake);
}

TEST(MemcheckOfAllowed, HasNothingAgainstWhatIsAllowed) {
  const Ran ran = run_under_memcheck("none");
  EXPECT_EQ(ran.exit_code, 0) << ran.output;
}

class Memcheck : public ::testing::TestWithParam<const char*> {};

TEST_P(Memcheck, Reports) {
  const Ran ran = run_under_memcheck(GetParam());
  EXPECT_EQ(ran.exit_code, 9) << ran.output;
}

INSTANTIATE_TEST_SUITE_P(UseAfter, Memcheck,
                         ::testing::Values("clear", "rewind", "packed_rewind", "scope", "overflow",
                                           "undefined", "shared"),
                         [](const auto& which) { return std::string(which.param); });

#else

TEST(Memcheck, Reports) {
  GTEST_SKIP() << "needs a build with TAPEDECK_VALGRIND and no sanitizer, and valgrind";
}

#endif

}  // namespace
}  // namespace tapedeck::tests
