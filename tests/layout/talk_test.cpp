// SPDX-License-Identifier: Apache-2.0
// Talks on the host and on a device: their handles, and the budget that they share.
#include "tapedeck/layout/talk.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "base/thrown.hpp"
#include "layout/side_kinds.hpp"
#include "layout/side_plan.hpp"
#include "layout/talk_core.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

// Only K of one layer, with a row of 1 KiB per token.
Plan keys_plan(std::uint64_t talks) {
  Plan plan;
  plan.talks = talks;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, kSideContext, 1024));
  return plan;
}

template <class Kind>
class TalkContract : public ::testing::Test {};
TYPED_TEST_SUITE(TalkContract, SideKinds);

TYPED_TEST(TalkContract, AClosedTalkIsRefusedAndItsSlotOpenedAgain) {
  TypeParam side(side_plan(3), {});
  auto& layout = side.layout;
  EXPECT_EQ(thrown<WrongState>([&] { (void)layout.open_talk(); }).state(), ObjectState::in_use);
  auto first = layout.talk(0);
  auto second = layout.talk(1);
  second.prepare(100);
  (void)second.advance(100);
  const std::size_t committed = layout.history(1).committed();
  first.close();
  second.close();
  EXPECT_FALSE(second.is_open());
  EXPECT_FALSE(layout.talk_stat(1).open);
  EXPECT_EQ(layout.talk_stat(1).tokens, 0U);
  auto again = layout.open_talk();
  EXPECT_EQ(again.index(), 1U);
  EXPECT_EQ(layout.history(1).committed(), committed);  // it has kept its pages
  EXPECT_EQ(layout.open_talk().index(), 0U);
  // The handle of the previous talk is not valid for this one.
  const std::vector<std::function<void()>> calls = {
      [&] { second.prepare(1); },
      [&] { (void)second.advance(); },
      [&] { second.rewind(1); },
      [&] { (void)second.tokens(); },
      [&] { (void)second.room(); },
      [&] { (void)second.capacity(); },
      [&] { second.clear(); },
      [&] { second.close(); },
      [&] { second.decommit(); },
      [&] { (void)second.stat(); },
      [&] { (void)second.row(layout.plan().history.regions()[0], 0); }};
  for (const auto& call : calls) {
    const auto closed = thrown<WrongState>(call);
    EXPECT_EQ(closed.state(), ObjectState::closed);
    EXPECT_EQ(closed.object(), "talk 1");
  }
  EXPECT_EQ(again.tokens(), 0U);
  again.prepare(1);
  EXPECT_EQ(again.advance(), 0U);
}

TYPED_TEST(TalkContract, ATalkThatIsClosedHasNoHandleAndIsNotCleared) {
  TypeParam side(side_plan(2), {});
  side.layout.talk(1).close();
  EXPECT_EQ(thrown<WrongState>([&] { (void)side.layout.talk(1); }).state(), ObjectState::closed);
  EXPECT_EQ(thrown<WrongState>([&] { side.layout.clear_talk(1); }).state(), ObjectState::closed);
  EXPECT_NO_THROW(side.layout.clear_talk(0));
}

TYPED_TEST(TalkContract, ClearingAHandleLeavesScratchAlone) {
  TypeParam side(side_plan(2), {.extra = {.weights = 0, .scratch = 4096, .history = 0}});
  (void)side.layout.scratch().take(100);
  const std::size_t used = side.layout.scratch().used();
  side.layout.talk(0).clear();
  side.layout.talk(1).close();
  EXPECT_EQ(side.layout.scratch().used(), used);
  side.layout.clear_talk(0);
  EXPECT_LT(side.layout.scratch().used(), used);
}

// Regression: only calls of `Layout::clear_talk` were counted.
TYPED_TEST(TalkContract, EachTalkThatEndsWithTokensIsAConversationOnce) {
  TypeParam side(side_plan(2), {.commit = Commit::at_creation});
  auto& layout = side.layout;
  const auto ended = [&] { return layout.stat().conversations; };
  layout.clear_talk(0);  // nothing has begun
  EXPECT_EQ(ended(), 0U);
  (void)layout.talk(0).advance(3);
  layout.talk(0).clear();
  EXPECT_EQ(ended(), 1U);
  layout.clear_talk(0);  // it has ended already
  layout.talk(0).close();
  EXPECT_EQ(ended(), 1U);
  auto again = layout.open_talk();
  (void)again.advance();
  again.close();
  EXPECT_EQ(ended(), 2U);
  (void)layout.talk(1).advance(2);
  layout.clear_talk(1);
  EXPECT_EQ(ended(), 3U);
  (void)layout.talk(1).advance(2);
  layout.talk(1).rewind(2);
  layout.talk(1).close();
  EXPECT_EQ(ended(), 3U);
}

TYPED_TEST(TalkContract, ATalkThatIsNotThereIsAnArgument) {
  TypeParam side(side_plan(2), {});
  auto& layout = side.layout;
  const std::vector<std::function<void()>> calls = {
      [&] { (void)layout.history(2); }, [&] { layout.clear_talk(2); },
      [&] { (void)layout.talk(2); }, [&] { (void)layout.talk_stat(2); },
      [&] { (void)layout.history_at({}, 2); }};
  for (const auto& call : calls) {
    const auto refused = thrown<InvalidArgument>(call);
    EXPECT_EQ(refused.argument(), "talk");
    EXPECT_EQ(refused.value(), 2U);
    EXPECT_EQ(refused.limit(), 1U);
    EXPECT_NE(refused.advice(), "");
  }
}

// --- the budget ---------------------------------------------------------------------------------

TYPED_TEST(TalkContract, AllTalksDrawOnOneBudget) {
  constexpr std::uint64_t kPageRows = TypeParam::kPage / 1024;
  TypeParam side(keys_plan(3), {.history_budget = 4 * TypeParam::kPage});
  auto& layout = side.layout;
  layout.talk(0).prepare(3 * kPageRows);
  (void)layout.talk(0).advance(3 * kPageRows);
  layout.talk(1).prepare(kPageRows);
  const auto over = thrown<OutOfMemory>([&] { layout.talk(2).prepare(1); });
  EXPECT_EQ(over.needed(), TypeParam::kPage);
  EXPECT_EQ(over.available(), 0U);
  EXPECT_EQ(over.limit(), "history_budget");
  EXPECT_EQ(over.purpose(), "preparing 1 token for talk 2");
  EXPECT_EQ(layout.talk_stat(2).history.refused, 1U);
  EXPECT_EQ(layout.stat().history_budget, 4 * TypeParam::kPage);
  EXPECT_EQ(layout.stat().budget_refusals, 1U);
  EXPECT_EQ(layout.talk(0).tokens(), 3 * kPageRows);
  // Talks that were cleared or closed give up their pages first.
  layout.talk(0).clear();
  layout.talk(2).prepare(2 * kPageRows);
  EXPECT_EQ(layout.history(0).committed(), 0U);
  layout.talk(1).close();
  layout.talk(2).prepare(4 * kPageRows);
  EXPECT_EQ(layout.stat().history.committed, 4 * TypeParam::kPage);
  EXPECT_THROW(layout.talk(0).prepare(1), OutOfMemory);
  (void)layout.talk(2).decommit();
  layout.talk(0).prepare(kPageRows);
  EXPECT_EQ(layout.stat().budget_refusals, 2U);
}

// All are `std::bad_alloc`, but only a talk over budget is worth another try later.
TYPED_TEST(TalkContract, WhatRanOutIsToldByTheTypeOfTheError) {
  TypeParam side(keys_plan(2), {.history_budget = TypeParam::kPage});
  auto& layout = side.layout;
  const auto caught_as = [](const std::function<void()>& call) -> std::string {
    try {
      call();
    } catch (const TalkFull&) {
      return "rewind or clear the talk";
    } catch (const TapeFull&) {
      return "reserve more";
    } catch (const OutOfMemory& error) {
      return "try again: " + error.limit();
    }
    return "";
  };
  layout.talk(0).prepare(1);
  EXPECT_EQ(caught_as([&] { layout.talk(1).prepare(1); }), "try again: history_budget");
  EXPECT_EQ(caught_as([&] { layout.talk(1).prepare(kSideContext + 1); }),
            "rewind or clear the talk");
  EXPECT_EQ(caught_as([&] { (void)layout.history(1).take(1); }), "reserve more");
  EXPECT_EQ(layout.stat().budget_refusals, 1U);
  EXPECT_EQ(layout.stat().history.refused, 3U);
  layout.talk(0).close();
  EXPECT_EQ(caught_as([&] { layout.talk(1).prepare(1); }), "");
}

TYPED_TEST(TalkContract, TheLastOfABudgetIsGivenThoughItIsNoWholeStep) {
  constexpr std::uint64_t kPageRows = TypeParam::kPage / 1024;
  TypeParam side(keys_plan(1),
                 {.growth_step = 3 * kPageRows, .history_budget = 4 * TypeParam::kPage});
  auto talk = side.layout.talk(0);
  talk.prepare(1);
  EXPECT_EQ(talk.room(), 3 * kPageRows);
  talk.prepare(4 * kPageRows);
  EXPECT_EQ(talk.room(), 4 * kPageRows);
  EXPECT_THROW(talk.prepare(4 * kPageRows + 1), OutOfMemory);
}

TYPED_TEST(TalkContract, ABudgetBelowWhatIsCommittedAtCreationIsRefused) {
  const SideAsked at_creation = {.commit = Commit::at_creation, .history_budget = 1_MiB};
  const auto over = thrown<OutOfMemory>([&] { TypeParam(side_plan(1), at_creation); });
  EXPECT_GT(over.needed(), over.available());
  EXPECT_EQ(over.available(), 1_MiB);
  EXPECT_THROW(TypeParam(side_plan(3), {.history_budget = TypeParam::kPage}), OutOfMemory);
}

TYPED_TEST(TalkContract, ATalkThatGoesOnIsNotRobbed) {
  constexpr std::uint64_t kPageRows = TypeParam::kPage / 1024;
  TypeParam side(keys_plan(2), {.history_budget = 2 * TypeParam::kPage});
  auto& layout = side.layout;
  layout.talk(0).prepare(kPageRows);
  layout.talk(0).clear();
  layout.talk(0).prepare(kPageRows);  // has room, so it only reports that it continues
  EXPECT_THROW(layout.talk(1).prepare(2 * kPageRows), OutOfMemory);
  EXPECT_EQ(layout.talk(0).advance(kPageRows), 0U);
}

// --- batches, and what there is room for --------------------------------------------------------

template <class Side>
using Batch = std::vector<BasicTalkTokens<
    std::conditional_t<Side::kOnDevice, internal::DeviceMemory, internal::HostMemory>>>;

TYPED_TEST(TalkContract, ABatchIsPreparedWholeOrNotAtAll) {
  constexpr std::uint64_t kPageRows = TypeParam::kPage / 1024;
  TypeParam side(keys_plan(4), {.history_budget = 4 * TypeParam::kPage});
  auto& layout = side.layout;
  layout.talk(0).prepare(kPageRows);
  (void)layout.talk(0).advance(2);
  const auto batch = [&](std::uint64_t first, std::uint64_t second, std::uint64_t third) {
    return Batch<TypeParam>{
        {layout.talk(0), first}, {layout.talk(1), second}, {layout.talk(3), third}};
  };
  const auto rooms = [&] {
    std::vector<std::uint64_t> all;
    for (std::size_t i = 0; i < layout.talks(); ++i) all.push_back(layout.talk(i).room());
    return all;
  };
  const std::vector<std::uint64_t> before = rooms();
  EXPECT_THROW(layout.prepare(batch(kPageRows, kPageRows, 2 * kPageRows)), OutOfMemory);
  EXPECT_EQ(rooms(), before);
  EXPECT_EQ(layout.stat().history.committed, TypeParam::kPage);
  EXPECT_THROW(layout.prepare(batch(1, 1, kSideContext + 1)), TalkFull);
  EXPECT_EQ(rooms(), before);
  layout.prepare(batch(kPageRows, 1, kPageRows));
  EXPECT_EQ(rooms(), (std::vector<std::uint64_t>{kPageRows, 1, 0, kPageRows}));
  layout.prepare({});
}

TEST(TalkBatch, OfAnotherLayoutIsRefused) {
  Layout one(keys_plan(1));
  Layout other(keys_plan(1));
  const std::vector<TalkTokens> foreign{{one.talk(0), 1}, {other.talk(0), 1}};
  EXPECT_EQ(thrown<InvalidArgument>([&] { one.prepare(foreign); }).argument(), "batch");
}

TYPED_TEST(TalkContract, ATalkThatIsTwiceInABatchGetsTheLargerNumber) {
  TypeParam side(keys_plan(1));
  auto talk = side.layout.talk(0);
  side.layout.prepare(Batch<TypeParam>{{talk, 200}, {talk, 300}, {talk, 100}});
  EXPECT_GE(talk.room(), 300U);
  EXPECT_LT(talk.room(), 300U + TypeParam::kPage / 1024);
}

TYPED_TEST(TalkContract, PagesNeededAreThoseThatPrepareTakes) {
  TypeParam side(side_plan(2));
  auto talk = side.layout.talk(1);
  for (const std::uint64_t tokens : {1U, 1U, 300U, 5U, 200U}) {
    const std::size_t before = side.layout.stat().history.committed;
    const std::size_t needed = talk.pages_needed(tokens);
    EXPECT_EQ(side.layout.stat().history.committed, before);
    talk.prepare(tokens);
    EXPECT_EQ(talk.pages_needed(tokens), 0U);
    (void)talk.advance(tokens);
    // `committed` leaves out what the last page of a region has behind it.
    EXPECT_LE(side.layout.stat().history.committed - before, needed);
    EXPECT_GT(side.layout.stat().history.committed - before + 2 * TypeParam::kPage, needed);
  }
  EXPECT_THROW((void)talk.pages_needed(kSideContext), TalkFull);
}

// What `room` promises is tried out, from random states.
TYPED_TEST(TalkContract, RoomIsTheNumberOfTalksThatCanBegin) {
  constexpr std::uint64_t kPageRows = TypeParam::kPage / 1024;
  constexpr std::size_t kTalks = 6;
  std::mt19937 random(1);
  const auto below = [&](std::uint64_t end) { return random() % end; };
  for (int round = 0; round < 100; ++round) {
    TypeParam side(keys_plan(kTalks), {.history_budget = (2 + below(8)) * TypeParam::kPage});
    auto& layout = side.layout;
    for (std::size_t i = 0; i < kTalks; ++i) {
      auto talk = layout.talk(i);
      const std::uint64_t tokens = below(3 * kPageRows);
      if (below(3) == 0 || !internal::succeeds([&] { talk.prepare(tokens); })) continue;
      (void)talk.advance(tokens);
      if (below(3) != 0) talk.clear();
    }
    const std::uint64_t tokens = 1 + below(2 * kPageRows);
    const std::size_t promised = layout.room(tokens);
    std::vector<std::size_t> idle;
    for (std::size_t i = 0; i < kTalks; ++i) {
      if (layout.talk(i).tokens() == 0) idle.push_back(i);
    }
    std::ranges::sort(idle, {}, [&](std::size_t i) { return layout.talk(i).pages_needed(tokens); });
    std::size_t begun = 0;
    for (const std::size_t i : idle) {
      if (internal::succeeds([&] { layout.talk(i).prepare(tokens); })) ++begun;
    }
    EXPECT_EQ(promised, begun) << "round " << round;
  }
  TypeParam side(keys_plan(kTalks));
  EXPECT_EQ(thrown<InvalidArgument>([&] { (void)side.layout.room(kSideContext + 1); }).argument(),
            "tokens");
}

TYPED_TEST(TalkContract, ALimitMayBeLoweredWhileTalksRun) {
  constexpr std::uint64_t kPageRows = TypeParam::kPage / 1024;
  TypeParam side(keys_plan(3));
  auto& layout = side.layout;
  layout.talk(0).prepare(2 * kPageRows);
  (void)layout.talk(0).advance(2 * kPageRows);
  layout.talk(1).prepare(kPageRows);
  (void)layout.talk(1).advance(1);
  layout.talk(1).clear();
  const auto limit = [&](std::size_t pages, std::uint64_t revision) {
    return layout.limit_histories(pages * TypeParam::kPage, revision);
  };
  EXPECT_EQ(limit(3, 1), LimitChange::applied);
  EXPECT_EQ(layout.stat().history.committed, 3 * TypeParam::kPage);
  EXPECT_EQ(limit(2, 5), LimitChange::applied);  // with the pages of the cleared talk
  EXPECT_EQ(layout.stat().history.committed, 2 * TypeParam::kPage);
  EXPECT_EQ(limit(100, 4), LimitChange::stale);
  EXPECT_EQ(limit(100, 5), LimitChange::stale);
  EXPECT_EQ(layout.stat().history_budget, 2 * TypeParam::kPage);
  EXPECT_EQ(limit(1, 6), LimitChange::deferred);
  EXPECT_THROW(layout.talk(2).prepare(1), OutOfMemory);
  layout.talk(0).rewind(2 * kPageRows - 1);
  EXPECT_NE(layout.talk(0).decommit(), 0U);
  EXPECT_THROW(layout.talk(2).prepare(1), OutOfMemory);
  EXPECT_EQ(limit(0, 7), LimitChange::applied);
  EXPECT_EQ(layout.stat().history_budget, 0U);
  layout.talk(2).prepare(kSideContext);
}

// `stat` comes between the two stores of `advance`.
TEST(TalkPeak, IsAtLeastWhatIsUsedWhileATokenIsAdded) {
  TapePlan plan(TapeKind::history);
  plan.append({.name = "k", .role = RegionRole::kv, .bytes = 4096, .growth = {16, 256}});
  Tape tape = Tape::start(4_KiB);
  const internal::TalkRegions regions(plan);
  internal::TalkCore<internal::HostMemory> talk(0, tape, {.regions = &regions});
  talk.tokens = 3;
  const TapeStat history = talk.stat().history;
  EXPECT_EQ(history.used, 48U);
  EXPECT_EQ(history.peak, 48U);
}

}  // namespace
}  // namespace tapedeck::tests
