// This program links tapedeck::heap_hook.

#include "tapedeck/layout/pass_guard.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "base/thrown.hpp"
#include "memory/ledger_spill.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

constexpr LayoutSizes kSizes = {.weights = 1_MiB, .scratch = 4_MiB, .history = 1_MiB};

// So that a page is a fault.
[[nodiscard]] LayoutOptions small_pages() {
  return {.scratch = {.name = "scratch", .block = {.huge_pages = HugePages::never}}};
}

void touch(void* at, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += kPage) static_cast<volatile char*>(at)[i] = 1;
}

// A pointer the compiler knows nothing about, so that no allocation is removed.
template <class T>
T* opaque(T* at) {
  T* volatile hidden = at;
  return hidden;
}

class PassGuardTest : public ::testing::Test {
 protected:
  // What a pass of this costs.
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

TEST_F(PassGuardTest, CountsPasses) {
  EXPECT_EQ(guard_.passes(), 0U);
  for (int token = 0; token < 10; ++token) layout_.clear_pass();
  EXPECT_EQ(guard_.passes(), 10U);
}

TEST_F(PassGuardTest, CountsPageFaults) {
  constexpr std::size_t kPages = 200;
  void* at = nullptr;
  const auto take_and_touch = [&] {
    at = layout_.scratch().take(kPages * kPage);
    touch(at, kPages * kPage);
  };
  // A debug build of the library touches what it takes back, so the first pass is looked at.
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

struct HeapCase {
  const char* name;
  std::function<void()> allocate;

  friend void PrintTo(const HeapCase& which, std::ostream* out) { *out << which.name; }
};

class PassGuardHeap : public PassGuardTest, public ::testing::WithParamInterface<HeapCase> {};

TEST_P(PassGuardHeap, CountsEachAllocation) {
  const auto& allocate = GetParam().allocate;
  allocate();
  const PassCost none = cost_of([] {});
  EXPECT_EQ(none.heap_allocations, 0U);
  const PassCost one = cost_of(allocate);
  EXPECT_EQ(one.heap_allocations, 1U) << GetParam().name;
  const PassCost five = cost_of([&] {
    for (int i = 0; i < 5; ++i) allocate();
  });
  EXPECT_EQ(five.heap_allocations, 5U) << GetParam().name;
  EXPECT_FALSE(five.free_of_cost());
}

[[nodiscard]] std::vector<HeapCase> heap_cases() {
  std::vector<HeapCase> cases = {
      {"malloc", [] { std::free(opaque(std::malloc(100))); }},
      {"calloc", [] { std::free(opaque(std::calloc(10, 10))); }},
      {"realloc", [] { std::free(opaque(std::realloc(nullptr, 100))); }},
      {"operator_new", [] { ::operator delete(opaque(::operator new(100))); }},
      {"operator_new_array", [] { delete[] opaque(new char[100]); }},
      {"nothrow_new", [] { ::operator delete(opaque(::operator new(100, std::nothrow))); }},
      {"aligned_new",
       [] {
         void* at = ::operator new(100, std::align_val_t(128));
         ::operator delete(opaque(at), std::align_val_t(128));
       }},
      {"vector", [] { (void)opaque(std::vector<int>(100).data()); }},
      {"string", [] { (void)opaque(std::string(100, 'x').data()); }},
      {"unique_ptr", [] { (void)opaque(std::make_unique<double>(1.0).get()); }}};
#if !defined(__SANITIZE_THREAD__)  // GCC's ThreadSanitizer does not tell of these two
  cases.push_back({"aligned_alloc", [] { std::free(opaque(std::aligned_alloc(64, 128))); }});
  cases.push_back({"posix_memalign", [] {
                     void* at = nullptr;
                     EXPECT_EQ(::posix_memalign(&at, 64, 100), 0);
                     std::free(opaque(at));
                   }});
#endif
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Through, PassGuardHeap, ::testing::ValuesIn(heap_cases()),
                         [](const auto& which) { return std::string(which.param.name); });

TEST_F(PassGuardTest, CountsAReallocThatGrows) {
  void* at = opaque(std::malloc(100));
  const PassCost cost = cost_of([&] { at = opaque(std::realloc(at, 100'000)); });
  EXPECT_EQ(cost.heap_allocations, 1U);
  std::free(at);
}

TEST_F(PassGuardTest, CountsTheHeapOfOtherThreadsToo) {
  layout_.clear_pass();
  std::jthread([] { std::free(opaque(std::malloc(100))); }).join();
  layout_.clear_pass();
  EXPECT_GE(guard_.last().heap_allocations, 1U);
}

TEST_F(PassGuardTest, WhatIsTakenFromTheTapesIsNoAllocation) {
  const PassCost cost = cost_of([&] {
    for (int i = 0; i < 100; ++i) (void)layout_.scratch().take<float>(100);
    for (int i = 0; i < 100; ++i) (void)layout_.history().take(24, 8);
  });
  EXPECT_EQ(cost.heap_allocations, 0U);
}

TEST(PassGuard, CountsGrowth) {
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
  EXPECT_EQ(guard.total().grows, 3U);
}

TEST(PassGuard, GrowthThatWasPreparedCostsThePassNothing) {
  Layout layout(kSizes, {.history = {.name = "history", .commit_step = 64_KiB}});
  layout.history().prepare(500_KiB);
  const PassGuard guard(layout);
  (void)layout.history().take(500_KiB);
  layout.clear_pass();
  EXPECT_EQ(guard.last().grows, 0U);
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
  // The kernel may take a page away at any moment, but not from every pass.
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
  EXPECT_FALSE(violation.advice().empty());
  EXPECT_EQ(layout.scratch().used(), 0U) << "scratch is cleared too";
  EXPECT_EQ(layout.stat().passes, 1U);
  EXPECT_EQ(guard.passes(), 1U);
  (void)layout.history().take(400_KiB);
  EXPECT_THROW(layout.clear_pass(), Error);
}

// What the exception itself allocates is no cost of the pass that follows.
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

TEST(PassGuard, APassThatCostsNothingDoesNotThrow) {
  Layout layout(kSizes);
  ASSERT_TRUE(layout.scratch().warm());
  PassGuard guard(layout, {.strict = true});
  int went_well = 0;
  for (int token = 0; token < 100; ++token) {
    try {
      (void)layout.scratch().take(1000);
      layout.clear_pass();
      EXPECT_TRUE(guard.last().free_of_cost()) << guard.last().text();
      ++went_well;
    } catch (const PassViolation& violation) {
      EXPECT_FALSE(guard.last().free_of_cost());
      EXPECT_EQ(violation.cost().text(), guard.last().text());
      guard.restart();
    }
  }
  EXPECT_GT(went_well, 0);
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

TEST(PassGuard, OneAtATime) {
  Layout layout(kSizes);
  {
    const PassGuard guard(layout);
    EXPECT_THROW(PassGuard second(layout), WrongState);
    layout.clear_pass();  // the first one still watches
    EXPECT_EQ(guard.passes(), 1U);
  }
  const PassGuard next(layout);
  layout.clear_pass();
  EXPECT_EQ(next.passes(), 1U);
  Layout other(kSizes);
  const PassGuard of_another(other);
  EXPECT_EQ(of_another.passes(), 0U);
}

TEST(PassGuard, ALayoutGoesOnWithoutIt) {
  Layout layout(kSizes);
  { const PassGuard guard(layout, {.strict = true}); }
  std::free(opaque(std::malloc(100)));
  layout.clear_pass();
  layout.clear_talk();
  EXPECT_EQ(layout.stat().passes, 1U);
}

#ifndef NDEBUG
TEST(PassGuardDeathTest, MustGoBeforeItsLayout) {
  EXPECT_DEATH(
      {
        std::optional<Layout> layout(std::in_place, kSizes);
        const PassGuard guard(*layout);
        layout.reset();
      },
      "must go before its layout");
}
#endif

TEST(PassCost, SaysWhatItIs) {
  EXPECT_EQ(PassCost{}.text(), "nothing");
  EXPECT_TRUE(PassCost{}.free_of_cost());
  EXPECT_EQ((PassCost{.minor_faults = 2, .heap_allocations = 1}.text()),
            "2 minor faults, 1 heap allocation");
  const PassCost all = {
      .minor_faults = 1, .major_faults = 2, .heap_allocations = 3, .grows = 4, .spills = 5};
  EXPECT_EQ(all.text(),
            "1 minor fault, 2 major faults, 3 heap allocations, 4 commit steps, 5 spilled takes");
}

TEST(PassCost, IsFreeOnlyOfAll) {
  EXPECT_FALSE((PassCost{.minor_faults = 1}.free_of_cost()));
  EXPECT_FALSE((PassCost{.major_faults = 1}.free_of_cost()));
  EXPECT_FALSE((PassCost{.heap_allocations = 1}.free_of_cost()));
  EXPECT_FALSE((PassCost{.grows = 1}.free_of_cost()));
  EXPECT_FALSE((PassCost{.spills = 1}.free_of_cost()));
  EXPECT_TRUE((PassCost{.heap_allocations = 0}.free_of_cost()));
}

}  // namespace
}  // namespace tapedeck::tests
