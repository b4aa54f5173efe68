// SPDX-License-Identifier: Apache-2.0
// A layout created from a plan: exactly the plan's regions, and talks that grow by tokens.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "base/thrown.hpp"
#include "layout/side_plan.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/pattern.hpp"
#include "os/fault_sweep.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/layout/pass_guard.hpp"

namespace tapedeck::tests {
namespace {

const Region& region(const TapePlan& plan, const char* name) { return *plan.find(name); }

LayoutOptions options(Commit commit) {
  LayoutOptions options{.commit = commit};
  options.history.block.huge_pages = HugePages::never;
  return options;
}

TEST(PlannedLayoutGrowth, IsGrowthInsideAPassToTheGuard) {
  Layout layout(side_plan(), options(Commit::with_talks));
  PassGuard guard(layout, {.strict = true});
  layout.talk(0).prepare(1);
  EXPECT_THROW(layout.clear_pass(), PassViolation);
}

// Grows a talk three times, and returns the requests that could not be met.
Complaints grow_a_talk() {
  LayoutOptions asked = options(Commit::with_talks);
  asked.growth_step = 8;
  Layout layout(side_plan(), asked);
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
  // Advice about pages may fail; without these calls warm works in another manner.
  const Work work{.run = grow_a_talk, .silent = silent_looks({"madvise"})};
  EXPECT_GT(sweep(work, ENOMEM), 10U);
}

TEST(PlannedLayoutWipe, TheNextTenantFindsZeros) {
  for (const Commit commit : {Commit::at_creation, Commit::with_talks}) {
    LayoutOptions asked = options(commit);
    asked.history.wipe_on_clear = true;
    asked.scratch.wipe_on_clear = true;
    Layout layout(side_plan(), asked);
    const Plan& plan = layout.plan();
    layout.talk(0).prepare(20);
    layout.talk(0).advance(20);
    std::vector<std::span<std::byte>> places = {
        layout.history_at(region(plan.history, "layers.0.k")).first(20 * kSideRow),
        layout.history_at(region(plan.history, "layers.1.k")).first(20 * kSideRow),
        layout.history_at(region(plan.history, "layers.2.state")),
        layout.scratch_at(region(plan.scratch, "decode.logits"))};
    for (const auto place : places) Pattern(7).write(place.data(), place.size());
    layout.clear_talk();
    layout.talk(0).advance(20);
    for (const auto place : places) EXPECT_TRUE(all_bytes_are(place.data(), place.size(), 0));
  }
}

// The planned part of scratch is not committed, so only what is above it can be wiped.
TEST(PlannedLayoutWipe, ReachesOnlyWhatIsCommitted) {
  LayoutOptions asked = options(Commit::nothing);
  asked.scratch.wipe_on_clear = true;
  asked.extra.scratch = 1_MiB;
  Layout layout(side_plan(), asked);
  const std::span<std::byte> secret = layout.scratch().take<std::byte>(1000);
  Pattern(7).write(secret.data(), secret.size());
  layout.clear_talk();
  EXPECT_EQ(layout.scratch().take<std::byte>(1000).data(), secret.data());
  EXPECT_TRUE(all_bytes_are(secret.data(), secret.size(), 0));
}

// A block that spills is wiped before it goes back, with and without room above the plan.
TEST(PlannedLayoutWipe, CoversSpilledTakes) {
  for (const Commit commit : {Commit::at_creation, Commit::with_talks, Commit::nothing}) {
    for (const std::size_t extra : {std::size_t{0}, std::size_t{4096}}) {
      LedgerSpill source;
      LayoutOptions asked = options(commit);
      asked.extra = {.scratch = extra, .history = extra};
      for (TapeOptions* tape : {&asked.scratch, &asked.history}) {
        tape->wipe_on_clear = true;
        tape->spill = &source;
      }
      Layout layout(side_plan(), asked);
      for (Tape* tape : {&layout.history(), &layout.scratch()}) {
        const std::span<std::byte> secret = tape->take<std::byte>(64_KiB);
        std::memset(secret.data(), 0x77, secret.size());
        source.secret = secret;
        layout.clear_talk();
        EXPECT_TRUE(source.secret.empty()) << tape->name() << " with extra " << extra;
      }
    }
  }
}

TEST(PlannedLayoutErrors, ALayoutOfSizesCountsNoTokensAndOpensTalks) {
  Layout layout({.weights = 4096, .scratch = 4096, .history = 4096}, {.talks = 2});
  Talk talk = layout.talk(1);
  for (const auto& call : std::vector<std::function<void()>>{[&] { talk.prepare(1); },
                                                             [&] { (void)talk.advance(); }}) {
    EXPECT_EQ(thrown<WrongState>(call).state(), ObjectState::empty);
  }
  talk.prepare(0);
  EXPECT_EQ(talk.advance(0), 0U);
  EXPECT_EQ(talk.tokens() + talk.room() + talk.capacity(), 0U);
  EXPECT_EQ(talk.decommit() + layout.decommit(), 0U);
  EXPECT_TRUE(talk.warm());
  talk.rewind(1);
  (void)layout.history(1).take(1000);
  EXPECT_EQ(talk.stat().history.used, 1024U);
  EXPECT_EQ(layout.restart_history_peaks(), 1024U);
  layout.clear_talk(1);
  EXPECT_EQ(talk.stat().history.used, 0U);
  talk.close();
  EXPECT_EQ(layout.open_talk().index(), 1U);
  EXPECT_EQ(layout.stat().capacity + layout.stat().room, 0U);
}

TEST(PlannedLayoutWarm, MakesWhatIsPreparedResident) {
  Layout layout(side_plan(), options(Commit::with_talks));
  Talk talk = layout.talk(0);
  talk.prepare(kSideContext);
  const WarmResult warmed = talk.warm();
  EXPECT_TRUE(warmed);
  EXPECT_GE(warmed.asked, (2 * kSideContext + kSideWindow) * kSideRow);
  talk.close();
  EXPECT_THROW((void)talk.warm(), WrongState);
}

#if defined(TAPEDECK_ASAN) && defined(GTEST_HAS_DEATH_TEST)
TEST(PlannedLayoutDeathTest, RowsThatWereTakenBackMayNotBeTouched) {
  Layout layout(side_plan(), options(Commit::with_talks));
  std::byte* rows = layout.history_at(region(layout.plan().history, "layers.0.k")).data();
  layout.talk(0).prepare(10);
  layout.talk(0).advance(10);
  rows[9 * kSideRow] = std::byte{1};
  layout.talk(0).rewind(1);
  EXPECT_DEATH(rows[9 * kSideRow] = std::byte{2}, "use-after-poison");
  layout.talk(0).advance();
  rows[9 * kSideRow] = std::byte{3};
  layout.clear_talk();
  EXPECT_DEATH(rows[0] = std::byte{4}, "use-after-poison");
}

// Also if they are new, or were given back to the system in the meantime.
TEST(PlannedLayoutDeathTest, RowsThatAreOnlyPreparedMayNotBeTouched) {
  for (const Commit commit : {Commit::with_talks, Commit::at_creation}) {
    Layout layout(side_plan(), options(commit));
    std::byte* rows = layout.history_at(region(layout.plan().history, "layers.0.k")).data();
    Talk talk = layout.talk(0);
    talk.prepare(40);
    EXPECT_DEATH(rows[0] = std::byte{1}, "use-after-poison");
    talk.advance(40);
    rows[39 * kSideRow] = std::byte{1};
    layout.clear_talk();
    (void)talk.decommit();
    talk.prepare(40);
    EXPECT_DEATH(rows[39 * kSideRow] = std::byte{2}, "use-after-poison");
    talk.advance(40);
    rows[39 * kSideRow] = std::byte{3};
  }
}
#endif

}  // namespace
}  // namespace tapedeck::tests
