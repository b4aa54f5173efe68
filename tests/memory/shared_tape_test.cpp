// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/shared_tape.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <latch>
#include <thread>
#include <type_traits>
#include <vector>

#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "memory/tape_parts.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace checking = internal::checking;
namespace {

static_assert(std::is_nothrow_move_constructible_v<SharedTape>);
static_assert(std::is_nothrow_move_assignable_v<SharedTape>);
static_assert(!std::is_copy_constructible_v<SharedTape>);

constexpr std::size_t kThreads = 4;

struct Taken {
  std::byte* at;
  std::size_t bytes;
  std::size_t align;
};

// Takes until the tape is full, with different sizes in each thread, and fills what it got.
std::vector<Taken> take_all(SharedTape& tape, std::size_t thread) {
  std::vector<Taken> all;
  for (std::size_t i = 0;; ++i) {
    const std::size_t bytes = 1 + (i * 71 + thread * 131) % 900;
    const std::size_t align = i % 16 == 0 ? 4096 : std::size_t{1} << i % 8;
    auto* at = static_cast<std::byte*>(tape.try_take(bytes, align));
    if (at == nullptr) return all;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % align, 0U);
    Pattern(thread).write(at, bytes);
    all.push_back({at, bytes, align});
  }
}

std::vector<std::vector<Taken>> take_all_at_once(SharedTape& tape) {
  std::vector<std::vector<Taken>> taken(kThreads);
  std::latch start(kThreads);
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      start.arrive_and_wait();
      taken[thread] = take_all(tape, thread);
    });
  }
  threads.clear();
  return taken;
}

// The line after the last take in the order of addresses, which is what the tape must have used.
// Each take begins on a new line, after the previous one.
std::size_t used_by(std::vector<Taken> all, const SharedTape& tape) {
  std::sort(all.begin(), all.end(), [](const Taken& a, const Taken& b) { return a.at < b.at; });
  std::uintptr_t head = internal::address_of(tape.block().data());
  for (const Taken& one : all) {
    EXPECT_EQ(internal::address_of(one.at), round_up(head, std::max<std::size_t>(one.align, 64)))
        << "a hole, or two takes out of one place";
    head = round_up(internal::address_of(one.at + one.bytes), 64);
  }
  return head - internal::address_of(tape.block().data());
}

TEST(SharedTape, FourThreadsGetWhatNobodyElseGotAndNothingIsLost) {
  SharedTape tape = SharedTape::start(4_MiB, {.name = "results"});
  for (std::uint64_t pass = 1; pass <= 5; ++pass) {
    const auto taken = take_all_at_once(tape);
    std::vector<Taken> all;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      for (const Taken& one : taken[thread]) {
        ASSERT_TRUE(Pattern(thread).is_at(one.at, one.bytes));
        all.push_back(one);
      }
    }
    EXPECT_EQ(tape.used(), used_by(all, tape));
    EXPECT_EQ(tape.used() + tape.free(), tape.total());
    EXPECT_EQ(tape.stat().refused, pass * kThreads);
    EXPECT_GT(all.size(), 4000U);
    EXPECT_GE(tape.peak(), tape.used());
    tape.clear();
    EXPECT_EQ(tape.used(), 0U);
    EXPECT_EQ(tape.stat().clears, pass);
  }
}

TEST(SharedTape, ReadersWatchWhileOthersTake) {
  SharedTape tape = SharedTape::start(4_MiB);
  std::latch start(kThreads);
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      start.arrive_and_wait();
      std::size_t used = 0;
      for (int i = 0; i < 5000; ++i) {
        if (thread % 2 == 0) (void)tape.try_take(1 + thread);
        const TapeStat stat = tape.stat();
        EXPECT_GE(stat.used, used);
        EXPECT_LE(stat.used, stat.reserved);
        EXPECT_GE(stat.peak, stat.used);
        used = stat.used;
      }
    });
  }
}

TEST(SharedTape, EveryTakeIsWholeLines) {
  SharedTape tape = SharedTape::start(1_MiB);
  auto* first = static_cast<std::byte*>(tape.take(1, 1));
  EXPECT_EQ(tape.take(1, 1), first + 64);
  EXPECT_EQ(tape.used(), 128U);
}

TEST(SharedTape, RefusesWhatItHasNoUseFor) {
  LedgerSpill source;
  EXPECT_THROW((void)SharedTape::start(1_MiB, {.commit_step = 4096}), InvalidArgument);
  EXPECT_THROW((void)SharedTape::start(1_MiB, {.spill = &source}), InvalidArgument);
  EXPECT_THROW((void)SharedTape::start(0), InvalidArgument);
  std::byte few[63];
  EXPECT_THROW((void)SharedTape::over(Block::borrow(few)), InvalidArgument);
  EXPECT_THROW((void)SharedTape::over(Block{}), InvalidArgument);
  const TempFolder folder;
  const auto path = folder.write("model.bin", std::string(8192, 'x'));
  EXPECT_THROW((void)SharedTape::over(Block::map_file(path)), InvalidArgument);
}

TEST(SharedTape, CommitsEverythingAtOnce) {
  SharedTape tape = SharedTape::over(Block::create_shared(1_MiB));
  EXPECT_EQ(tape.committed(), 1_MiB);
  std::memset(tape.take(1_MiB), 1, 1_MiB);
}

// Unless it wipes, a clear only fills the memory in debug builds.
TEST(SharedTape, WipesOnClearAndInTheEnd) {
  for (const bool wipe : {true, false}) {
    std::vector<std::byte> memory(8192, std::byte{0x11});
    std::byte* at = nullptr;
    {
      SharedTape tape = SharedTape::over(Block::borrow(memory), {.wipe_on_clear = wipe});
      at = static_cast<std::byte*>(tape.take(1000));
      std::memset(at, 0x5A, 1000);
      tape.clear();
      checking::unpoison(internal::address_of(at), 1000);
      EXPECT_TRUE(all_bytes_are(at, 1000, wipe ? 0 : internal::kFillOnGiveBack ? 0xDD : 0x5A));
      EXPECT_EQ(tape.take(10), at);
      std::memset(at, 3, 10);
    }
    if (wipe) {
      EXPECT_TRUE(all_bytes_are(at, 1000, 0));
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
