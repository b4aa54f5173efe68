// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/layout.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "layout/side_plan.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "os/fault_sweep.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace {

static_assert(!std::is_copy_constructible_v<Layout> && !std::is_move_constructible_v<Layout>);

constexpr LayoutSizes kSmall = {.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB};

TEST(Layout, HasThreeTapesOfTheSizesAsked) {
  Layout layout(kSmall);
  EXPECT_EQ(layout.weights().total(), 4_MiB);
  EXPECT_EQ(layout.scratch().total(), 1_MiB);
  EXPECT_EQ(layout.history().total(), 2_MiB);
  EXPECT_EQ(layout.total(), 7_MiB);
  EXPECT_EQ(layout.talks(), 1U);
  EXPECT_EQ(layout.weights().name(), "weights");
  EXPECT_EQ(layout.scratch().name(), "scratch");
  EXPECT_EQ(layout.history().name(), "history");
  EXPECT_EQ(&layout.history(), &layout.history(0));
}

TEST(Layout, TheWeightsStartWarmAndTheOthersDoNot) {
  Layout layout({.weights = 4_MiB, .scratch = 4_MiB, .history = 4_MiB});
  const auto weights = layout.weights().residency().present;
  const auto scratch = layout.scratch().residency().present;
  const auto history = layout.history().residency().present;
  if (!weights || !scratch || !history) {
    GTEST_SKIP() << "the kernel does not report which pages are present";
  }
  EXPECT_EQ(*weights, 4_MiB);
  EXPECT_EQ(*scratch, 0U);
  EXPECT_EQ(*history, 0U);
}

TEST(Layout, ClearPassGivesScratchBackAndNothingElse) {
  Layout layout(kSmall);
  void* weight = layout.weights().take(1000);
  void* row = layout.history().take(1000);
  Pattern(1).write(weight, 1000);
  Pattern(2).write(row, 1000);
  const void* first = layout.scratch().take(1000);
  layout.clear_pass();
  EXPECT_EQ(layout.scratch().used(), 0U);
  EXPECT_EQ(layout.scratch().take(1000), first);
  EXPECT_EQ(layout.weights().used(), 1024U);
  EXPECT_EQ(layout.history().used(), 1024U);
  EXPECT_TRUE(Pattern(1).is_at(weight, 1000) && Pattern(2).is_at(row, 1000));
}

TEST(Layout, ClearTalkGivesItsHistoryAndScratchBackAndNothingElse) {
  Layout layout(kSmall, {.talks = 3});
  ASSERT_EQ(layout.talks(), 3U);
  EXPECT_EQ(layout.total(), 4_MiB + 1_MiB + 3 * 2_MiB);
  void* weight = layout.weights().take(1000);
  Pattern(7).write(weight, 1000);
  (void)layout.scratch().take(1000);
  std::array<void*, 3> rows{};
  for (std::size_t talk = 0; talk < 3; ++talk) {
    rows[talk] = layout.history(talk).take(1000);
    Pattern(talk).write(rows[talk], 1000);
  }
  layout.clear_talk(1);
  EXPECT_EQ(layout.history(1).used() + layout.scratch().used(), 0U);
  for (const std::size_t talk : {0U, 2U}) {
    EXPECT_EQ(layout.history(talk).used(), 1024U);
    EXPECT_TRUE(Pattern(talk).is_at(rows[talk], 1000));
  }
  EXPECT_TRUE(Pattern(7).is_at(weight, 1000));
}

TEST(Layout, PassesOptionsToItsTapes) {
  LedgerSpill source;
  Layout layout(kSmall, {.talks = 2,
                         .weights = {.name = "model", .block = {.core_dump = false}},
                         .scratch = {.name = "temporaries", .spill = &source},
                         .history = {.name = "cache", .commit_step = 64_KiB}});
  EXPECT_EQ(layout.weights().name(), "model");
  EXPECT_EQ(layout.scratch().name(), "temporaries");
  EXPECT_EQ(layout.history(0).name(), "cache");
  EXPECT_EQ(layout.history(1).name(), "cache");
  EXPECT_EQ(layout.history(1).committed(), 64_KiB);
  (void)layout.scratch().take(2_MiB);
  EXPECT_EQ(source.blocks(), 1U);
  layout.clear_pass();
  EXPECT_EQ(source.blocks(), 0U);
}

// The example of the library that this one grew from, in sizes that a test machine can warm.
TEST(Layout, TheExampleOfItsOrigin) {
  Layout layout({.weights = 64_MiB, .scratch = 64_MiB, .history = 512_MiB});
  (void)layout.weights().take(12_MiB);
  for (int token = 0; token < 3; ++token) {
    (void)layout.history().take(1_MiB);
    (void)layout.scratch().take(1_MiB);
    if (token < 2) layout.clear_pass();
  }
  std::ostringstream out;
  out << layout.stat();
  EXPECT_EQ(out.str(), "weights: 12/64 MB | scratch: 1/64 MB | history: 3/512 MB");
  EXPECT_EQ(layout.total(), 640_MiB);
  layout.clear_talk();
  EXPECT_EQ(layout.stat().line(), "weights: 12/64 MB | scratch: 0/64 MB | history: 0/512 MB");
  EXPECT_EQ(layout.scratch().peak(), 1_MiB);
  EXPECT_EQ(layout.history().peak(), 3_MiB);
}

class NoWeights : public WeightsOwner {
 public:
  [[nodiscard]] std::span<const std::byte> range() const override { return {}; }
  [[nodiscard]] std::optional<Tensor> tensor(std::string_view /*name*/) const override {
    return std::nullopt;
  }
};

TEST(Layout, RefusesWhatMakesNoSense) {
  const NoWeights loaded;
  const Holdings before = holdings();
  const std::vector<std::pair<std::function<void()>, std::string>> rows = {
      {[] { Layout({.weights = 0, .scratch = 1_MiB, .history = 1_MiB}); }, "LayoutSizes::weights"},
      {[] { Layout({.weights = 1_MiB, .scratch = 0, .history = 1_MiB}); }, "LayoutSizes::scratch"},
      {[] { Layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 0}); }, "LayoutSizes::history"},
      {[] { Layout(kSmall, {.talks = 0}); }, "LayoutOptions::talks"},
      {[] { Layout(side_plan(2), {.talks = 3}); }, "LayoutOptions::talks"},
      {[] { Layout(kSmall, {.weights = {.commit_step = 4096}}); }, "TapeOptions::commit_step"},
      {[] { Layout(kSmall, {.commit = Commit::with_talks}); }, "LayoutOptions::commit"},
      {[] { Layout(kSmall, {.growth_step = 1}); }, "LayoutOptions::growth_step"},
      {[] { Layout(kSmall, {.extra = {.weights = 1}}); }, "LayoutOptions::extra"},
      {[] { Layout(kSmall, {.extra = {.scratch = 1}}); }, "LayoutOptions::extra"},
      {[] { Layout(kSmall, {.extra = {.history = 1}}); }, "LayoutOptions::extra"},
      {[] { Layout(kSmall, {.history_budget = 1_MiB}); }, "LayoutOptions::history_budget"},
      {[&] { Layout(kSmall, {.loaded_weights = &loaded}); }, "LayoutOptions::loaded_weights"},
      {[] { Layout(kSmall, {.ahead = 1}); }, "LayoutOptions::ahead"},
      {[] { Layout(kSmall, {.resident_growth = true}); }, "LayoutOptions::resident_growth"},
      {[] { Layout(kSmall, {.guard_unprepared = true}); }, "LayoutOptions::guard_unprepared"},
      {[] { Layout(kSmall, {.gpus = {{}}}); }, "LayoutOptions::gpus"},
      {[] { (void)Layout(kSmall).gpu(0); }, "gpu"}};
  for (const auto& [call, argument] : rows) {
    EXPECT_EQ(thrown<InvalidArgument>(call).argument(), argument);
  }
  EXPECT_NO_THROW(Layout(side_plan(2), {.talks = 2}));
  EXPECT_TRUE(same(before, holdings()));
}

TEST(Layout, AHistoryThatCannotBeLeavesNoWeightsBehind) {
  const Holdings before = holdings();
  for (const std::size_t history : {kMost, kMost / 2, std::size_t{1} << 60, std::size_t{1} << 47}) {
    EXPECT_THROW(Layout({.weights = 8_MiB, .scratch = 1_MiB, .history = history}), Error)
        << history;
    EXPECT_TRUE(same(before, holdings()));
  }
}

TEST(Layout, WeightsTheHostHasNoRoomForAreRefusedBeforeTheyAreTouched) {
  const Holdings before = holdings();
  const std::size_t too_much = 2 * number_of("/proc/meminfo", "MemTotal:") * 1_KiB;
  try {
    const Layout layout({.weights = too_much, .scratch = 1_MiB, .history = 1_MiB});
    FAIL() << too_much << " bytes of weights";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.purpose(), "committing tape weights");
    EXPECT_EQ(error.needed(), too_much);
    EXPECT_LT(error.available(), error.needed());
  } catch (const SystemError& error) {  // where overcommit is strict
    EXPECT_EQ(error.number(), ENOMEM);
  }
  EXPECT_TRUE(same(before, holdings()));
}

TEST(Layout, AHookThatThrowsOnTheLastTalkLeavesNothingBehind) {
  const Holdings before = holdings();
  int commits = 0;
  int decommits = 0;
  const BlockOptions hooks = {.on_commit =
                                  [&](std::span<std::byte>) {
                                    if (++commits == 4) throw std::bad_alloc();
                                  },
                              .on_decommit = [&](std::span<std::byte>) { ++decommits; }};
  EXPECT_THROW(Layout(kSmall, {.talks = 4, .history = {.name = "history", .block = hooks}}),
               std::bad_alloc);
  EXPECT_EQ(commits, 4);
  EXPECT_EQ(decommits, 3);
  EXPECT_TRUE(same(before, holdings()));
}

// --- faults ---------------------------------------------------------------------------------

// All wishes, so that every call that a block can make is made.
[[nodiscard]] LayoutOptions everything() {
  const BlockOptions wishes = {.lock = true, .core_dump = false, .on_fork = OnFork::omit};
  return {.talks = 2,
          .weights = {.name = "weights", .block = wishes},
          .scratch = {.name = "scratch", .commit_step = 64_KiB, .block = wishes},
          .history = {.name = "history", .block = {.huge_pages = HugePages::explicit_pages}}};
}

class LayoutFaults : public ::testing::TestWithParam<int> {};

TEST_P(LayoutFaults, CreationIsAllOrNothing) {
  const LayoutSizes sizes = {.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB};
  const auto create = [&] {
    Layout layout(sizes, everything());
    EXPECT_EQ(layout.talks(), 2U);
    EXPECT_EQ(layout.weights().total(), sizes.weights);
    EXPECT_NE(layout.weights().try_take(sizes.weights), nullptr);
    EXPECT_NE(layout.scratch().try_take(1000), nullptr);
    EXPECT_NE(layout.history(1).try_take(1000), nullptr);
    Complaints all;
    for (const Tape* tape :
         {&layout.weights(), &layout.scratch(), &layout.history(0), &layout.history(1)}) {
      for (const Unmet& one : tape->block().unmet()) {
        // Other processes may use or return huge pages of the host's pool at any time.
        if (one.wish != Wish::huge_pages) all.push_back(one.text);
      }
    }
    return all;
  };
  // A budget that cannot be read limits nothing; if the kernel has no huge pages, other pages are
  // used.
  const std::set<std::string> silent = silent_looks({"mmap", "mremap", "madvise"});
  EXPECT_GE(sweep({.run = create, .silent = silent}, GetParam()), 10U);
}

INSTANTIATE_TEST_SUITE_P(With, LayoutFaults,
                         ::testing::ValuesIn(sweep_errors({ENOMEM, EPERM, EINVAL})),
                         [](const auto& with) { return errno_name(with.param); });

// --- readers --------------------------------------------------------------------------------

TEST(Layout, StatMayBeCalledWhileTheEngineRuns) {
  Layout layout(kSmall, {.talks = 2, .history = {.name = "history", .commit_step = 64_KiB}});
  std::atomic<bool> done{false};
  std::jthread reader([&] {
    Stat last;
    while (!done.load(std::memory_order_relaxed)) {
      const Stat now = layout.stat();
      EXPECT_GE(now.passes, last.passes);
      EXPECT_GE(now.conversations, last.conversations);
      EXPECT_GE(now.scratch.peak, last.scratch.peak);
      EXPECT_GE(now.history.peak, last.history.peak);
      EXPECT_LE(now.history.used, now.history.reserved);
      EXPECT_EQ(layout.total(), 9_MiB);
      EXPECT_FALSE(now.line().empty());
      last = now;
    }
  });
  for (int token = 0; token < 2000; ++token) {
    (void)layout.scratch().take(50'000);
    (void)layout.history(token % 2 == 0 ? 0 : 1).take(2000);
    layout.clear_pass();
    if (token % 500 == 499) {
      layout.clear_talk(0);
      layout.clear_talk(1);
    }
  }
  done.store(true, std::memory_order_relaxed);
  reader.join();
  EXPECT_EQ(layout.stat().passes, 2000U);
  EXPECT_EQ(layout.stat().conversations, 8U);
}

}  // namespace
}  // namespace tapedeck::tests
