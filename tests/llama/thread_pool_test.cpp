// SPDX-License-Identifier: Apache-2.0
#include "llama/thread_pool.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "base/thrown.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using llama::ThreadPool;

constexpr std::size_t kCostly = 1'000'000;  // an item that is worth a thread

class ThreadPoolTest : public ::testing::TestWithParam<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1U, 2U, 3U, 8U));

TEST_P(ThreadPoolTest, EveryItemIsDoneOnceInManyTinyDispatches) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  std::array<unsigned, 37> done{};  // not atomic, because each item belongs to one part
  constexpr unsigned kDispatches = 5000;
  for (unsigned dispatch = 0; dispatch < kDispatches; ++dispatch) {
    pool.split(done.size(), kCostly, [&](std::size_t begin, std::size_t end) noexcept {
      for (std::size_t i = begin; i < end; ++i) ++done[i];
    });
  }
  for (const unsigned times : done) EXPECT_EQ(times, kDispatches);
}

TEST_P(ThreadPoolTest, PartsAreConsecutiveAndOnOneThreadEach) {
  ThreadPool pool(GetParam());
  for (std::size_t count = 0; count < 20; ++count) {
    std::mutex mutex;
    std::set<std::pair<std::size_t, std::size_t>> parts;
    std::set<std::thread::id> threads;
    pool.split(count, kCostly, [&](std::size_t begin, std::size_t end) noexcept {
      const std::lock_guard lock(mutex);
      parts.emplace(begin, end);
      threads.insert(std::this_thread::get_id());
    });
    const std::size_t expected = std::min<std::size_t>(count, GetParam());
    EXPECT_EQ(parts.size(), expected);
    EXPECT_EQ(threads.size(), expected);
    std::size_t next = 0;
    for (const auto& [begin, end] : parts) {
      EXPECT_EQ(begin, next);
      EXPECT_LT(begin, end);
      next = end;
    }
    EXPECT_EQ(next, count);
  }
}

TEST_P(ThreadPoolTest, ThreadsThatFellAsleepAreWoken) {
  ThreadPool pool(GetParam());
  std::array<int, 8> done{};
  for (int dispatch = 0; dispatch < 20; ++dispatch) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than any thread spins
    pool.split(done.size(), kCostly, [&](std::size_t begin, std::size_t end) noexcept {
      // So that this thread sleeps too.
      if (begin != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      for (std::size_t i = begin; i < end; ++i) ++done[i];
    });
  }
  for (const int times : done) EXPECT_EQ(times, 20);
}

TEST_P(ThreadPoolTest, WhatIsNotWorthAThreadRunsHere) {
  ThreadPool pool(GetParam());
  int calls = 0;
  pool.split(1000, 16, [&](std::size_t begin, std::size_t end) noexcept {
    EXPECT_EQ(begin, 0U);
    EXPECT_EQ(end, 1000U);
    ++calls;
  });
  EXPECT_EQ(calls, 1);
}

// Regression: a forked child did not end, and neither did a dispatch in it.
TEST_P(ThreadPoolTest, WorksAndEndsInAForkedChild) {
  auto pool = std::make_unique<ThreadPool>(GetParam());
  const auto sum_of_parts = [&] {
    std::atomic<std::size_t> sum = 0;
    pool->split(100, kCostly, [&](std::size_t begin, std::size_t end) noexcept {
      for (std::size_t i = begin; i < end; ++i) sum += i;
    });
    return sum.load();
  };
  EXPECT_EQ(sum_of_parts(), 4950U);
  in_child([&] {
    EXPECT_EQ(sum_of_parts(), 4950U);
    pool.reset();
    EXPECT_EQ(ThreadPool(2).threads(), 2U);  // it may have a pool of its own
  });
  EXPECT_EQ(sum_of_parts(), 4950U);
  std::thread([&] { pool.reset(); }).join();
}

TEST(ThreadPoolLimits, AHostWithoutMoreThreadsIsAnErrorAndLeavesNone) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the addresses that this test removes";
  EXPECT_TRUE(passes_in_child([] {
    const std::size_t stack = std::size_t{8} << 20;
    const rlimit stack_limit = {stack, stack};
    ::setrlimit(RLIMIT_STACK, &stack_limit);
    const std::size_t now = number_of("/proc/self/status", "VmSize:") << 10;
    const rlimit limit = {now + (std::size_t{200} << 20), now + (std::size_t{200} << 20)};
    ::setrlimit(RLIMIT_AS, &limit);
    EXPECT_EQ(thrown<SystemError>([] { const ThreadPool pool(1000); }).call(), "pthread_create");
    EXPECT_EQ(number_of("/proc/self/status", "Threads:"), 1U);
  }));
}

}  // namespace
}  // namespace tapedeck::tests
