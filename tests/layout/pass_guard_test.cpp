// SPDX-License-Identifier: Apache-2.0
// This program links tapedeck::heap_hook.

#include "tapedeck/layout/pass_guard.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "memory/ledger_spill.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

constexpr LayoutSizes kSizes = {.weights = 1_MiB, .scratch = 4_MiB, .history = 1_MiB};

// Small pages, so that each page is a fault.
[[nodiscard]] LayoutOptions small_pages() {
  return {.scratch = {.name = "scratch", .block = {.huge_pages = HugePages::never}}};
}

void touch(void* at, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += kPage) static_cast<volatile char*>(at)[i] = 1;
}

// Hides a pointer from the compiler, so that no allocation is removed.
template <class T>
T* opaque(T* at) {
  T* volatile hidden = at;
  return hidden;
}

class PassGuardTest : public ::testing::Test {
 protected:
  // Measures the cost of a pass.
  template <class Pass>
  PassCost cost_of(Pass pass) {
    layout_.clear_pass();
    pass();
    layout_.clear_pass();
    return guard_.last();
  }

  Layout layout_{kSizes, small_pages()};
  PassGuard guard_{layout_};
};

TEST_F(PassGuardTest, CountsPageFaults) {
  constexpr std::size_t kPages = 200;
  void* at = nullptr;
  const auto take_and_touch = [&] {
    at = layout_.scratch().take(kPages * kPage);
    touch(at, kPages * kPage);
  };
  // A debug build of the library touches the memory that it clears, so the first pass is checked.
  const PassCost first = cost_of(take_and_touch);
  EXPECT_GE(first.minor_faults, kPages);
  EXPECT_GE(guard_.total().minor_faults, kPages);
  const PassCost again = cost_of(take_and_touch);
  EXPECT_LT(again.minor_faults, kPages / 2);
}

TEST_F(PassGuardTest, AWarmTapeHasNoPageFaults) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's shadow has page faults too";
  ASSERT_TRUE(layout_.scratch().warm());
  const PassCost cost = cost_of([&] { touch(layout_.scratch().take(4_MiB), 4_MiB); });
  EXPECT_LT(cost.minor_faults, 4_MiB / kPage / 2);
}

TEST_F(PassGuardTest, CountsEachAllocation) {
  struct Row {
    const char* what;
    std::function<void()> allocate;
    std::uint64_t allocations = 1;
  };
  std::vector<Row> rows = {
      {"malloc", [] { std::free(opaque(std::malloc(100))); }},
      {"calloc", [] { std::free(opaque(std::calloc(10, 10))); }},
      {"realloc of nothing", [] { std::free(opaque(std::realloc(nullptr, 100))); }},
      {"malloc, and a realloc that grows it",
       [] { std::free(opaque(std::realloc(opaque(std::malloc(100)), 100'000))); }, 2},
      {"operator new", [] { ::operator delete(opaque(::operator new(100))); }},
      {"operator new of an array", [] { delete[] opaque(new char[100]); }},
      {"nothrow new", [] { ::operator delete(opaque(::operator new(100, std::nothrow))); }},
      {"aligned new",
       [] {
         void* at = ::operator new(100, std::align_val_t(128));
         ::operator delete(opaque(at), std::align_val_t(128));
       }},
      {"vector", [] { (void)opaque(std::vector<int>(100).data()); }},
      {"string", [] { (void)opaque(std::string(100, 'x').data()); }},
      {"unique_ptr", [] { (void)opaque(std::make_unique<double>(1.0).get()); }}};
#if !defined(__SANITIZE_THREAD__)  // GCC's ThreadSanitizer does not report these two
  rows.push_back({"aligned_alloc", [] { std::free(opaque(std::aligned_alloc(64, 128))); }});
  rows.push_back({"posix_memalign", [] {
                    void* at = nullptr;
                    EXPECT_EQ(::posix_memalign(&at, 64, 100), 0);
                    std::free(opaque(at));
                  }});
#endif
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    row.allocate();
    EXPECT_EQ(cost_of([] {}).heap_allocations, 0U);
    EXPECT_EQ(cost_of(row.allocate).heap_allocations, row.allocations);
    const PassCost five = cost_of([&] {
      for (int i = 0; i < 5; ++i) row.allocate();
    });
    EXPECT_EQ(five.heap_allocations, 5 * row.allocations);
    EXPECT_FALSE(five.free_of_cost());
  }
}

TEST_F(PassGuardTest, CountsTheHeapOfOtherThreadsToo) {
  layout_.clear_pass();
  std::jthread([] { std::free(opaque(std::malloc(100))); }).join();
  layout_.clear_pass();
  EXPECT_GE(guard_.last().heap_allocations, 1U);
}

TEST(PassGuard, CountsGrowthThatWasNotPrepared) {
  Layout layout(kSizes, {.history = {.name = "history", .commit_step = 64_KiB}});
  const PassGuard guard(layout);
  (void)layout.history().take(100_KiB);
  layout.clear_pass();
  EXPECT_EQ(guard.last().grows, 1U);
  EXPECT_FALSE(guard.last().free_of_cost());
  (void)layout.history().take(100);
  layout.clear_pass();
  EXPECT_EQ(guard.last().grows, 0U);
  (void)layout.history().take(100_KiB);
  (void)layout.history().take(100_KiB);
  layout.clear_pass();
  EXPECT_EQ(guard.last().grows, 2U);
  layout.clear_talk();
  layout.history().prepare(500_KiB);
  layout.clear_talk();
  (void)layout.history().take(500_KiB);
  layout.clear_pass();
  EXPECT_EQ(guard.last().grows, 0U);
  EXPECT_EQ(guard.total().grows, 3U);
}

TEST(PassGuard, CountsSpills) {
  LedgerSpill source;
  Layout layout(kSizes, {.scratch = {.name = "scratch", .spill = &source}});
  const PassGuard guard(layout);
  (void)layout.scratch().take(5_MiB);
  (void)layout.scratch().take(6_MiB);
  layout.clear_pass();
  EXPECT_EQ(guard.last().spills, 2U);
  layout.clear_pass();
  EXPECT_EQ(guard.last().spills, 0U);
  EXPECT_EQ(guard.total().spills, 2U);
}

TEST(PassGuard, ASteadyPassCostsNothing) {
  Layout layout(kSizes);
  ASSERT_TRUE(layout.scratch().warm());
  ASSERT_TRUE(layout.history().warm());
  const PassGuard guard(layout);
  const auto pass = [&] {
    touch(layout.scratch().take(1_MiB), 1_MiB);
    touch(layout.history().take(1000), 1000);
    layout.clear_pass();
  };
  for (int token = 0; token < 10; ++token) pass();
  int free = 0;
  for (int token = 0; token < 100; ++token) {
    pass();
    EXPECT_EQ(guard.last().heap_allocations, 0U);
    free += guard.last().free_of_cost() ? 1 : 0;
  }
  // The kernel may take a page away at any time, but not in every pass.
  EXPECT_TRUE(kSanitized || free > 0);
  EXPECT_EQ(guard.total().grows + guard.total().spills, 0U);
}

TEST(PassGuard, AStrictOneThrowsAndNamesTheCost) {
  Layout layout(kSizes, {.history = {.name = "history", .commit_step = 64_KiB}});
  const PassGuard guard(layout, {.strict = true});
  (void)layout.history().take(200_KiB);
  (void)layout.scratch().take(1000);
  const auto violation = thrown<PassViolation>([&] { layout.clear_pass(); });
  EXPECT_EQ(violation.pass(), 1U);
  EXPECT_EQ(violation.cost().grows, 1U);
  EXPECT_EQ(layout.scratch().used(), 0U) << "scratch is cleared too";
  EXPECT_EQ(layout.stat().passes, 1U);
  EXPECT_EQ(guard.passes(), 1U);
  (void)layout.history().take(400_KiB);
  EXPECT_THROW(layout.clear_pass(), Error);
}

// Allocations of the exception itself do not count for the next pass.
TEST(PassGuard, AViolationIsNotBlamedOnTheNextPass) {
  Layout layout(kSizes);
  const PassGuard guard(layout, {.strict = true});
  const auto violates = [&] {
    try {
      layout.clear_pass();
      return false;
    } catch (const PassViolation&) {
      return true;
    }
  };
  std::free(opaque(std::malloc(100)));
  EXPECT_TRUE(violates());
  bool again = false;
  for (int token = 0; token < 5 && !again; ++token) again = violates();
  EXPECT_EQ(guard.last().heap_allocations, 0U);
  EXPECT_FALSE(again && guard.last().minor_faults == 0) << guard.last().text();
}

TEST(PassGuard, WhatLiesBetweenTwoTalksBelongsToNoPass) {
  Layout layout(kSizes, {.history = {.name = "history", .commit_step = 64_KiB}});
  const PassGuard guard(layout);
  (void)layout.history().take(200_KiB);
  std::free(opaque(std::malloc(100)));
  layout.clear_talk();
  layout.clear_pass();
  EXPECT_EQ(guard.last().grows, 0U);
  EXPECT_EQ(guard.last().heap_allocations, 0U);
  EXPECT_EQ(guard.passes(), 1U);
}

TEST(PassGuard, RestartForgets) {
  Layout layout(kSizes);
  PassGuard guard(layout);
  std::free(opaque(std::malloc(100)));
  guard.restart();
  layout.clear_pass();
  EXPECT_EQ(guard.last().heap_allocations, 0U);
  std::free(opaque(std::malloc(100)));
  layout.clear_pass();
  EXPECT_EQ(guard.last().heap_allocations, 1U);
}

TEST(PassGuard, OneAtATimeWatchesALayout) {
  Layout layout(kSizes);
  {
    const PassGuard guard(layout);
    EXPECT_EQ(thrown<WrongState>([&] { PassGuard second(layout); }).state(), ObjectState::busy);
    layout.clear_pass();  // the first guard still watches
    EXPECT_EQ(guard.passes(), 1U);
  }
  const PassGuard next(layout);
  layout.clear_pass();
  EXPECT_EQ(next.passes(), 1U);
  Layout other(kSizes);
  { const PassGuard of_another(other, {.strict = true}); }
  std::free(opaque(std::malloc(100)));
  other.clear_pass();  // no guard watches it
  EXPECT_EQ(other.passes(), 1U);
}

#ifndef NDEBUG
TEST(PassGuardDeathTest, MustGoBeforeItsLayout) {
  EXPECT_DEATH(
      {
        std::optional<Layout> layout(std::in_place, kSizes);
        const PassGuard guard(*layout);
        layout.reset();
      },
      "must be destroyed before its layout");
}
#endif

TEST(PassCost, IsFreeOnlyWhereNothingWasCounted) {
  const std::vector<std::pair<PassCost, std::string>> rows = {
      {{.minor_faults = 1}, "1 minor fault"},
      {{.major_faults = 1}, "1 major fault"},
      {{.heap_allocations = 1}, "1 heap allocation"},
      {{.grows = 1}, "1 commit step"},
      {{.spills = 1}, "1 spilled take"},
      {{.minor_faults = 6, .major_faults = 2, .heap_allocations = 3, .grows = 4, .spills = 5},
       "6 minor faults, 2 major faults, 3 heap allocations, 4 commit steps, 5 spilled takes"}};
  for (const auto& [cost, text] : rows) {
    EXPECT_FALSE(cost.free_of_cost());
    EXPECT_EQ(cost.text(), text);
  }
  for (const PassCost& free : {PassCost{}, PassCost{.heap_allocations = 0}}) {
    EXPECT_TRUE(free.free_of_cost());
    EXPECT_EQ(free.text(), "nothing");
  }
}

}  // namespace
}  // namespace tapedeck::tests
