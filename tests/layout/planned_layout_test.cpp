// A layout made from a plan: exactly the plan's regions, and talks that grow by tokens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "layout/cache_region.hpp"
#include "memory/hook_ledger.hpp"
#include "memory/pattern.hpp"
#include "os/fault_sweep.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/layout/pass_guard.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kPlannedContext = 1024;
constexpr std::uint64_t kWindow = 256;
constexpr std::uint64_t kPlannedRow = 512;  // bytes of K of one token

// Two tensors, two buffers that share their place, K and V of a layer, a window, a state.
Plan small_host_plan(std::uint64_t talks = 1) {
  Plan plan;
  plan.talks = talks;
  plan.context_per_talk = kPlannedContext;
  plan.weights.append({.name = "embedding", .bytes = 1000});
  plan.weights.append({.name = "head", .bytes = 8192, .alignment = 4096});
  plan.scratch.place({.name = "decode.logits", .role = RegionRole::decode, .bytes = 4000});
  plan.scratch.place({.name = "prefill.logits", .role = RegionRole::prefill, .bytes = 9000});
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, kPlannedContext, kPlannedRow));
  plan.history.append(cache_region("layers.0.v", RegionRole::kv, kPlannedContext, kPlannedRow));
  plan.history.append(cache_region("layers.1.k", RegionRole::window, kWindow, kPlannedRow));
  plan.history.append(
      {.name = "layers.2.state", .role = RegionRole::recurrent, .bytes = 100, .alignment = 4096});
  return plan;
}

const Region& region(const TapePlan& plan, const char* name) { return *plan.find(name); }

void expect_exact(Layout& layout) {
  const Plan& plan = layout.plan();
  EXPECT_EQ(layout.weights().used(), plan.weights.bytes());
  EXPECT_EQ(layout.scratch().used(), plan.scratch.bytes());
  for (std::size_t talk = 0; talk < layout.talks(); ++talk) {
    EXPECT_EQ(layout.history(talk).used(), plan.history.bytes());
  }
}

LayoutOptions options(Commit commit) {
  LayoutOptions options{.commit = commit};
  options.history.block.huge_pages = HugePages::never;
  return options;
}

class PlannedLayout : public ::testing::TestWithParam<Commit> {};
INSTANTIATE_TEST_SUITE_P(Commits, PlannedLayout,
                         ::testing::Values(Commit::at_creation, Commit::with_talks,
                                           Commit::nothing));

TEST_P(PlannedLayout, HoldsExactlyThePlanNowAndAfterEveryClear) {
  Layout layout(small_host_plan(2), options(GetParam()));
  EXPECT_EQ(layout.talks(), 2U);
  expect_exact(layout);
  layout.clear_pass();
  expect_exact(layout);
  layout.talk(1).prepare(10);
  layout.talk(1).advance(10);
  layout.clear_talk(1);
  expect_exact(layout);
  EXPECT_EQ(layout.talk(1).tokens(), 0U);
}

// It crashed: a tape without memory was told what of it is committed.
TEST_P(PlannedLayout, AnEncoderHasNoHistoryOnTheHostNorOnADevice) {
  HostDevice device({.granularity = kDevicePage});
  Plan encoder = small_host_plan(2);
  encoder.history = TapePlan(TapeKind::history);
  LayoutOptions asked = options(GetParam());
  asked.gpus = {{.device = &device, .options = {.commit = GetParam()}}};
  Layout layout(encoder, asked);
  EXPECT_EQ(layout.history(1).total(), 0U);
  EXPECT_EQ(layout.gpu(0).history(1).total(), 0U);
  EXPECT_EQ(layout.stat().history.reserved, 0U);
}

TEST_P(PlannedLayout, RegionsLieAtTheirOffsetsAndAlignments) {
  Layout layout(small_host_plan(), options(GetParam()));
  for (const Region& one : layout.plan().weights.regions()) {
    const std::span<std::byte> at = layout.weights_at(one);
    EXPECT_EQ(at.data(), layout.weights().data() + one.offset);
    EXPECT_EQ(at.size(), one.bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at.data()) % one.alignment, 0U);
  }
  const std::span<float> logits =
      layout.scratch_at<float>(region(layout.plan().scratch, "decode.logits"));
  EXPECT_EQ(logits.size(), 1000U);
}

TEST_P(PlannedLayout, TakesOfItsOwnLieAboveAndGo) {
  LayoutOptions asked = options(GetParam());
  asked.extra = {.weights = 4096, .scratch = 4096, .history = 4096};
  Layout layout(small_host_plan(), asked);
  const std::size_t scratch = layout.scratch().used();
  const std::size_t history = layout.history().used();
  Pattern(1).write(layout.scratch().take(4096), 4096);
  Pattern(2).write(layout.history().take(4096), 4096);
  Pattern(3).write(layout.weights().take(4096), 4096);
  EXPECT_THROW((void)layout.scratch().take(4096), TapeFull);
  layout.clear_pass();
  EXPECT_EQ(layout.scratch().used(), scratch);
  layout.clear_talk();
  EXPECT_EQ(layout.history().used(), history);
}

TEST_P(PlannedLayout, WrittenRowsStayWhereTheyAreWhileTheTalkGrows) {
  LayoutOptions asked = options(GetParam());
  asked.growth_step = 16;
  Layout layout(small_host_plan(2), asked);
  const Region& k = region(layout.plan().history, "layers.0.k");
  const Region& v = region(layout.plan().history, "layers.0.v");
  for (std::uint64_t token = 0; token < kPlannedContext; ++token) {
    for (const std::size_t talk : {0U, 1U}) {
      layout.talk(talk).prepare(1);
      EXPECT_EQ(layout.talk(talk).advance(), token);
      Pattern(2 * token + talk)
          .write(&layout.history_at(k, talk)[token * kPlannedRow], kPlannedRow);
      Pattern(9 * token + talk)
          .write(&layout.history_at(v, talk)[token * kPlannedRow], kPlannedRow);
    }
  }
  for (std::uint64_t token = 0; token < kPlannedContext; ++token) {
    for (const std::size_t talk : {0U, 1U}) {
      EXPECT_TRUE(Pattern(2 * token + talk)
                      .is_at(&layout.history_at(k, talk)[token * kPlannedRow], kPlannedRow));
      EXPECT_TRUE(Pattern(9 * token + talk)
                      .is_at(&layout.history_at(v, talk)[token * kPlannedRow], kPlannedRow));
    }
  }
  EXPECT_EQ(layout.stat().tokens, 2 * kPlannedContext);
  EXPECT_THROW(layout.talk(0).prepare(1), TalkFull);
}

TEST_P(PlannedLayout, ATalkBeyondThePlanIsRefusedAndStaysAsItWas) {
  Layout layout(small_host_plan(), options(GetParam()));
  layout.talk(0).prepare(1000);
  layout.talk(0).advance(1000);
  const std::size_t committed = layout.history().committed();
  const auto full = thrown<TalkFull>([&] { layout.talk(0).prepare(25); });
  EXPECT_EQ(full.needs().talk, 0U);
  EXPECT_EQ(full.needs().tokens, 25U);
  EXPECT_EQ(full.needs().held, 1000U);
  EXPECT_EQ(full.needs().room, layout.talk(0).room());
  EXPECT_EQ(full.needs().capacity, kPlannedContext);
  EXPECT_THROW(layout.talk(0).prepare(~std::uint64_t{0}), TalkFull);
  EXPECT_EQ(layout.talk(0).tokens(), 1000U);
  EXPECT_EQ(layout.history().committed(), committed);
  layout.talk(0).prepare(24);
  layout.talk(0).advance(24);
}

TEST_P(PlannedLayout, TokensAreTakenBack) {
  Layout layout(small_host_plan(), options(GetParam()));
  layout.talk(0).prepare(300);
  layout.talk(0).advance(300);
  layout.talk(0).rewind(100);
  EXPECT_EQ(layout.talk(0).tokens(), 200U);
  EXPECT_EQ(layout.talk(0).advance(100), 200U);  // their room is still there
  layout.talk(0).rewind(1000);
  EXPECT_EQ(layout.talk(0).tokens(), 0U);
}

TEST(PlannedLayoutGrowth, CommitsWhatTheTokensNeedAndNoMore) {
  LayoutOptions asked = options(Commit::with_talks);
  asked.growth_step = 1;
  Layout layout(small_host_plan(), asked);
  EXPECT_EQ(layout.history().committed(), 100U);  // the state alone
  layout.talk(0).prepare(8);
  EXPECT_EQ(layout.history().committed(), std::uint64_t{3} * 8 * kPlannedRow + 100);
  layout.talk(0).prepare(9);  // a page more of each
  EXPECT_EQ(layout.history().committed(), std::uint64_t{3} * 16 * kPlannedRow + 100);
  layout.talk(0).prepare(kPlannedContext);
  EXPECT_EQ(layout.history().committed(), (2 * kPlannedContext + kWindow) * kPlannedRow + 100);
  EXPECT_EQ(layout.stat().history.committed, layout.history().committed());
  EXPECT_EQ(layout.stat().history.grows, 3U);
}

TEST(PlannedLayoutGrowth, GrowsByItsStep) {
  LayoutOptions asked = options(Commit::with_talks);
  asked.growth_step = 128;
  Layout layout(small_host_plan(), asked);
  layout.talk(0).prepare(1);
  EXPECT_EQ(layout.history().committed(), std::uint64_t{3} * 128 * kPlannedRow + 100);
  layout.talk(0).prepare(128);
  EXPECT_EQ(layout.stat().history.grows, 1U);
  layout.talk(0).prepare(129);
  EXPECT_EQ(layout.stat().history.grows, 2U);
}

TEST(PlannedLayoutGrowth, PagesGoBackAndAddressesStay) {
  LayoutOptions asked = options(Commit::with_talks);
  asked.growth_step = 1;
  Layout layout(small_host_plan(), asked);
  const Region& k = region(layout.plan().history, "layers.0.k");
  layout.talk(0).prepare(1024);
  layout.talk(0).advance(8);
  Pattern(1).write(layout.history_at(k).data(), 8 * kPlannedRow);
  EXPECT_EQ(layout.talk(0).decommit(), (2 * (1024 - 8) + (256 - 8)) * kPlannedRow);
  EXPECT_EQ(layout.history().committed(), std::uint64_t{3} * 8 * kPlannedRow + 100);
  EXPECT_TRUE(Pattern(1).is_at(layout.history_at(k).data(), 8 * kPlannedRow));
  EXPECT_THROW(layout.talk(0).advance(), NotPrepared);
  layout.talk(0).prepare(1);
  layout.talk(0).advance();
  Pattern(2).write(&layout.history_at(k)[8 * kPlannedRow], kPlannedRow);
}

TEST(PlannedLayoutGrowth, AdvancingWithoutRoomIsRefused) {
  Layout layout(small_host_plan(), options(Commit::with_talks));
  EXPECT_THROW(layout.talk(0).advance(), NotPrepared);
  layout.talk(0).prepare(1);
  layout.talk(0).advance(256);  // the whole step
  EXPECT_THROW(layout.talk(0).advance(), NotPrepared);
}

TEST(PlannedLayoutGrowth, IsGrowthInsideAPassToTheGuard) {
  Layout layout(small_host_plan(), options(Commit::with_talks));
  PassGuard guard(layout, {.strict = true});
  layout.talk(0).prepare(1);
  EXPECT_THROW(layout.clear_pass(), PassViolation);
}

// A talk that grows three times, and whatever was asked for and not had.
Complaints grow_a_talk() {
  LayoutOptions asked = options(Commit::with_talks);
  asked.growth_step = 8;
  Layout layout(small_host_plan(), asked);
  for (const std::uint64_t tokens : {8U, 64U, 512U}) {
    const std::size_t before = layout.history().committed();
    try {
      layout.talk(0).prepare(tokens);
    } catch (const SystemError&) {
      EXPECT_EQ(layout.history().committed(), before);
      EXPECT_EQ(layout.talk(0).decommit(), 0U);  // nothing is left half done
      throw;
    }
    layout.talk(0).advance(tokens);
  }
  Complaints complaints;
  const Stat stat = layout.stat();
  for (const TapeStat& tape : {stat.weights, stat.scratch, stat.history}) {
    for (const std::int32_t refusal : tape.unmet) {
      if (refusal != 0) complaints.push_back(errno_name(refusal));
    }
  }
  return complaints;
}

TEST(PlannedLayoutGrowth, EveryCallThatFailsLeavesTheTalkAsItWas) {
  // Advice about pages is advice; without these warming asks otherwise.
  const Work work{.run = grow_a_talk, .silent = {"madvise", "open", "pread", "read", "fopen"}};
  EXPECT_GT(sweep(work, ENOMEM), 10U);
}

TEST(PlannedLayoutWipe, TheNextTenantFindsZeros) {
  for (const Commit commit : {Commit::at_creation, Commit::with_talks}) {
    LayoutOptions asked = options(commit);
    asked.history.wipe_on_clear = true;
    asked.scratch.wipe_on_clear = true;
    Layout layout(small_host_plan(), asked);
    const Plan& plan = layout.plan();
    layout.talk(0).prepare(20);
    layout.talk(0).advance(20);
    std::vector<std::span<std::byte>> places = {
        layout.history_at(region(plan.history, "layers.0.k")).first(20 * kPlannedRow),
        layout.history_at(region(plan.history, "layers.1.k")).first(20 * kPlannedRow),
        layout.history_at(region(plan.history, "layers.2.state")),
        layout.scratch_at(region(plan.scratch, "decode.logits"))};
    for (const auto place : places) Pattern(7).write(place.data(), place.size());
    layout.clear_talk();
    layout.talk(0).advance(20);
    for (const auto place : places) EXPECT_TRUE(all_bytes_are(place.data(), place.size(), 0));
  }
}

TEST(PlannedLayoutErrors, RefusesPlansItCannotHold) {
  Plan foreign = small_host_plan();
  foreign.profile = "llama.cpp";
  EXPECT_THROW(Layout{foreign}, InvalidArgument);
  EXPECT_THROW(Layout(small_host_plan(2), {.talks = 3}), InvalidArgument);
  Plan none = small_host_plan();
  none.talks = 0;
  EXPECT_THROW(Layout{none}, InvalidArgument);
  EXPECT_THROW(Layout(small_host_plan(~std::uint64_t{0}), options(Commit::nothing)),
               InvalidArgument);
  Plan strict = small_host_plan();
  strict.weights.append({.name = "strict", .bytes = 1, .alignment = std::uint64_t{1} << 30});
  EXPECT_THROW(Layout{strict}, InvalidArgument);
  Plan endless = small_host_plan();
  endless.weights.append({.name = "endless", .bytes = std::uint64_t{1} << 62});
  EXPECT_THROW(Layout(endless, options(Commit::nothing)), Error);
}

TEST(PlannedLayoutErrors, ALayoutOfSizesCountsNoTokens) {
  Layout layout({.weights = 4096, .scratch = 4096, .history = 4096});
  EXPECT_THROW(layout.talk(0).prepare(1), WrongState);
  EXPECT_THROW(layout.talk(0).advance(), WrongState);
  EXPECT_EQ(layout.talk(0).tokens(), 0U);
  EXPECT_EQ(layout.talk(0).decommit(), 0U);
  layout.talk(0).rewind(1);
}

TEST(PlannedLayoutErrors, AnEmptyPlanIsALayoutOfNothing) {
  Layout layout{Plan{}};
  EXPECT_EQ(layout.total(), 0U);
  EXPECT_EQ(layout.talks(), 1U);
  layout.talk(0).prepare(100);  // nothing fills, so nothing is full
  layout.talk(0).advance(100);
  layout.clear_talk();
}

#if defined(TAPEDECK_ASAN) && defined(GTEST_HAS_DEATH_TEST)
TEST(PlannedLayoutDeathTest, RowsThatWereTakenBackMayNotBeTouched) {
  Layout layout(small_host_plan(), options(Commit::with_talks));
  std::byte* rows = layout.history_at(region(layout.plan().history, "layers.0.k")).data();
  layout.talk(0).prepare(10);
  layout.talk(0).advance(10);
  rows[9 * kPlannedRow] = std::byte{1};
  layout.talk(0).rewind(1);
  EXPECT_DEATH(rows[9 * kPlannedRow] = std::byte{2}, "use-after-poison");
  layout.talk(0).advance();
  rows[9 * kPlannedRow] = std::byte{3};
  layout.clear_talk();
  EXPECT_DEATH(rows[0] = std::byte{4}, "use-after-poison");
}
#endif

TEST(PlannedLayout, KnowsTheLongestTalkThereWas) {
  Layout layout(small_host_plan(2), options(Commit::at_creation));
  EXPECT_EQ(layout.stat().longest_talk, 0U);
  layout.talk(0).advance(7);
  layout.talk(1).advance(5);
  layout.talk(0).rewind(3);
  layout.talk(0).advance(1);
  EXPECT_EQ(layout.stat().longest_talk, 7U);
  layout.talk(1).advance(4);
  EXPECT_EQ(layout.stat().longest_talk, 9U);
  layout.clear_talk(1);
  EXPECT_EQ(layout.stat().longest_talk, 9U);
  EXPECT_EQ(layout.stat().tokens, 5U);
  EXPECT_EQ(layout.stat().largest_talk, 9 * 3 * kPlannedRow + 100);
}

}  // namespace
}  // namespace tapedeck::tests
