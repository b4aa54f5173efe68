// SPDX-License-Identifier: Apache-2.0
// What a layout does both on the host and on a device: exactly the plan's regions, and talks that
// grow by tokens.
#include "tapedeck/layout/side.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "layout/cache_region.hpp"
#include "layout/side_kinds.hpp"
#include "layout/side_plan.hpp"
#include "memory/pattern.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/talk_error.hpp"

namespace tapedeck::tests {
namespace {

template <class Kind>
class SideContract : public ::testing::Test {
 protected:
  static void expect_exact(auto& layout) {
    const Plan& plan = layout.plan();
    EXPECT_EQ(layout.weights().used(), round_up(plan.weights.bytes(), Kind::kTapeLine));
    EXPECT_EQ(layout.scratch().used(), round_up(plan.scratch.bytes(), Kind::kTapeLine));
    for (std::size_t talk = 0; talk < layout.talks(); ++talk) {
      const TapeStat stat = layout.talk_stat(talk).history;
      EXPECT_EQ(stat.planned, round_up(plan.history.bytes(), Kind::kTapeLine));
      EXPECT_EQ(stat.used, filled_by(layout.talk_stat(talk).tokens));
    }
  }
};
TYPED_TEST_SUITE(SideContract, SideKinds);

TYPED_TEST(SideContract, HoldsExactlyThePlanNowAndAfterEveryClear) {
  for (const Commit commit : kCommits) {
    TypeParam side(side_plan(2), {.commit = commit});
    auto& layout = side.layout;
    EXPECT_EQ(layout.talks(), 2U);
    EXPECT_EQ(layout.plan().history.payload(), side_plan().history.payload());
    this->expect_exact(layout);
    layout.clear_pass();
    this->expect_exact(layout);
    layout.talk(1).prepare(10);
    EXPECT_EQ(layout.talk(1).advance(7), 0U);
    EXPECT_EQ(layout.talk(1).advance(), 7U);
    this->expect_exact(layout);
    layout.clear_talk(1);
    EXPECT_EQ(layout.talk(1).tokens(), 0U);
    this->expect_exact(layout);
  }
}

TYPED_TEST(SideContract, RegionsLieAtTheirOffsetsAndAlignments) {
  for (const Commit commit : kCommits) {
    TypeParam side(side_plan(), {.commit = commit});
    auto& layout = side.layout;
    const auto expect_at = [](const auto& span, const auto& tape, const Region& region) {
      EXPECT_EQ(span.data(), tape.data() + region.offset);
      EXPECT_EQ(span.size(), region.bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(span.data()) % region.alignment, 0U);
      EXPECT_TRUE(tape.owns(span.data()));
    };
    for (const Region& one : layout.plan().weights.regions()) {
      expect_at(layout.weights_at(one), layout.weights(), one);
    }
    for (const Region& one : layout.plan().history.regions()) {
      expect_at(layout.history_at(one), layout.history(), one);
    }
    const Region& logits = *layout.plan().scratch.find("decode.logits");
    EXPECT_EQ(layout.template scratch_at<float>(logits).size(), 1000U);
  }
}

TYPED_TEST(SideContract, TakesOfItsOwnLieAboveAndGo) {
  for (const Commit commit : kCommits) {
    const LayoutSizes extra = {.weights = 4096, .scratch = 4096, .history = 4096};
    TypeParam side(side_plan(), {.commit = commit, .extra = extra});
    auto& layout = side.layout;
    for (auto* tape : {&layout.weights(), &layout.scratch(), &layout.history()}) {
      tape->prepare(4096);
      (void)tape->take(4096);
    }
    EXPECT_GE(layout.stat().history.used, 4096U);
    layout.clear_pass();
    EXPECT_EQ(layout.scratch().used(), layout.scratch().floor());
    layout.clear_talk();
    EXPECT_EQ(layout.history().used(), layout.history().floor());
    EXPECT_EQ(layout.stat().history.used, 0U);
    EXPECT_EQ(layout.stat().history.peak, 4096U);
  }
}

TYPED_TEST(SideContract, WrittenRowsStayWhereTheyAreWhileTheTalkGrows) {
  for (const Commit commit : kCommits) {
    TypeParam side(side_plan(2), {.commit = commit, .growth_step = 16});
    auto& layout = side.layout;
    const auto regions = layout.plan().history.regions();
    std::vector<typename TypeParam::Handle> talks = {layout.talk(0), layout.talk(1)};
    const auto each_row = [&](std::uint64_t token, auto row_do) {
      for (std::size_t talk = 0; talk < 2; ++talk) {
        for (std::size_t region = 0; region < 2; ++region) {
          row_do(Pattern(8 * token + 2 * talk + region), talks[talk].row(regions[region], token));
        }
      }
    };
    const std::byte* const first = layout.history_at(regions[0]).data();
    for (std::uint64_t token = 0; token < kSideContext; ++token) {
      for (auto& talk : talks) {
        talk.prepare(1);
        ASSERT_EQ(talk.advance(), token);
      }
      each_row(token, [](Pattern pattern, auto row) {
        ASSERT_EQ(row.size(), kSideRow);
        pattern.write(row.data(), row.size());
      });
    }
    for (std::uint64_t token = 0; token < kSideContext; ++token) {
      each_row(token, [](Pattern pattern, auto row) {
        ASSERT_TRUE(pattern.is_at(row.data(), row.size()));
      });
    }
    EXPECT_EQ(layout.history_at(regions[0]).data(), first);
    // The rows of a window are reused in turn.
    EXPECT_EQ(talks[0].row(regions[2], kSideWindow + 3).data(), talks[0].row(regions[2], 3).data());
    EXPECT_EQ(layout.stat().tokens, 2 * kSideContext);
  }
}

TYPED_TEST(SideContract, CommitsWholePagesAndNoMore) {
  constexpr std::uint64_t kRows = TypeParam::kPage / kSideRow;
  TypeParam side(side_plan(2), {});
  auto& layout = side.layout;
  const auto expect_committed = [&](std::uint64_t rows, std::uint64_t grows) {
    EXPECT_EQ(layout.stat().history.committed, rows * kSideRow + 2 * kSideState);
    EXPECT_EQ(layout.stat().history.grows, grows);
  };
  expect_committed(0, 0);  // only the states
  layout.talk(0).prepare(kRows);
  expect_committed(3 * kRows, 1);
  layout.talk(0).prepare(kRows + 1);
  expect_committed(6 * kRows, 2);
  layout.talk(0).prepare(kSideContext);
  expect_committed(2 * kSideContext + kSideWindow, 3);
  EXPECT_EQ(layout.history(1).committed(), kSideState);
}

TYPED_TEST(SideContract, GrowsByItsStep) {
  TypeParam side(side_plan(), {.growth_step = 128});
  side.layout.talk(0).prepare(1);
  EXPECT_EQ(side.layout.history().committed(), 384 * kSideRow + kSideState);
  side.layout.talk(0).prepare(128);
  EXPECT_EQ(side.layout.stat().history.grows, 1U);
  side.layout.talk(0).prepare(129);
  EXPECT_EQ(side.layout.stat().history.grows, 2U);
}

TYPED_TEST(SideContract, ATalkBeyondThePlanIsRefusedAndStaysAsItWas) {
  for (const Commit commit : kCommits) {
    TypeParam side(side_plan(), {.commit = commit});
    auto talk = side.layout.talk(0);
    talk.prepare(1000);
    (void)talk.advance(1000);
    const std::size_t committed = side.layout.history().committed();
    const auto full = thrown<TalkFull>([&] { talk.prepare(25); });
    EXPECT_EQ(full.kind(), ErrorKind::out_of_memory);
    EXPECT_EQ(full.needs().talk, 0U);
    EXPECT_EQ(full.needs().tokens, 25U);
    EXPECT_EQ(full.needs().held, 1000U);
    EXPECT_EQ(full.needs().room, talk.room());
    EXPECT_EQ(full.needs().capacity, kSideContext);
    const auto huge = thrown<TalkFull>([&] { talk.prepare(~std::uint64_t{0}); });
    EXPECT_EQ(huge.needs().tokens, ~std::uint64_t{0});
    EXPECT_THROW((void)talk.advance(25), TalkFull);
    EXPECT_EQ(side.layout.stat().history.refused, 3U);
    EXPECT_EQ(talk.tokens(), 1000U);
    EXPECT_EQ(side.layout.history().committed(), committed);
    talk.prepare(24);
    (void)talk.advance(24);
    EXPECT_EQ(talk.room(), 0U);
  }
}

TYPED_TEST(SideContract, AForgottenPrepareSaysWhatToCall) {
  TypeParam side(side_plan(2), {.growth_step = 64});
  auto talk = side.layout.talk(1);
  const auto forgotten = thrown<NotPrepared>([&] { (void)talk.advance(3); });
  EXPECT_EQ(forgotten.kind(), ErrorKind::wrong_state);
  EXPECT_EQ(forgotten.needs().talk, 1U);
  EXPECT_EQ(forgotten.needs().tokens, 3U);
  EXPECT_EQ(forgotten.needs().room, 0U);
  EXPECT_EQ(forgotten.needs().capacity, kSideContext);
  EXPECT_NE(forgotten.advice(), "");
  talk.prepare(3);
  EXPECT_EQ(talk.room(), 64U);  // the whole step
  (void)talk.advance(64);
  EXPECT_THROW((void)talk.advance(), NotPrepared);
  EXPECT_EQ(side.layout.talk_stat(1).history.refused, 2U);
  EXPECT_EQ(side.layout.stat().history.refused, 2U);
}

TYPED_TEST(SideContract, TokensAreTakenBack) {
  for (const Commit commit : kCommits) {
    TypeParam side(side_plan(), {.commit = commit});
    auto talk = side.layout.talk(0);
    talk.prepare(300);
    (void)talk.advance(300);
    talk.rewind(100);
    EXPECT_EQ(talk.tokens(), 200U);
    EXPECT_EQ(talk.advance(100), 200U);  // their room is still there
    talk.rewind(1000);
    EXPECT_EQ(talk.tokens(), 0U);
  }
}

TYPED_TEST(SideContract, PagesGoBackAndAddressesStay) {
  constexpr std::uint64_t kHeld = TypeParam::kPage / kSideRow;
  TypeParam side(side_plan(2), {});
  auto& layout = side.layout;
  auto talk = layout.talk(0);
  talk.prepare(kSideContext);
  layout.talk(1).prepare(kSideContext);
  (void)talk.advance(kHeld);
  const auto keys = layout.history_at(layout.plan().history.regions()[0]);
  Pattern(1).write(keys.data(), kHeld * kSideRow);
  const std::uint64_t rows = 2 * (kSideContext - kHeld) + (kSideWindow - kHeld);
  EXPECT_EQ(talk.decommit(), rows * kSideRow);
  EXPECT_EQ(layout.history().committed(), filled_by(kHeld));
  EXPECT_TRUE(Pattern(1).is_at(keys.data(), kHeld * kSideRow));
  EXPECT_THROW((void)talk.advance(), NotPrepared);
  talk.prepare(1);
  EXPECT_EQ(talk.advance(), kHeld);
  EXPECT_GT(layout.decommit(), 0U);  // from all talks
  EXPECT_EQ(layout.history(1).committed(), kSideState);
}

// Regression: "used" of a planned history was the whole plan from the first token on.
TYPED_TEST(SideContract, UsedFollowsTheTokens) {
  for (const Commit commit : kCommits) {
    TypeParam side(side_plan(2), {.commit = commit});
    auto& layout = side.layout;
    auto talk = layout.talk(0);
    std::uint64_t before = 0;
    for (const std::uint64_t tokens : {0U, 1U, 101U, 1000U}) {
      talk.prepare(tokens - before);
      (void)talk.advance(tokens - before);
      before = tokens;
      const auto stat = layout.stat();
      EXPECT_EQ(stat.history.used, filled_by(tokens));
      EXPECT_EQ(stat.history.peak, filled_by(tokens));
      EXPECT_EQ(stat.history.planned,
                2 * round_up(layout.plan().history.bytes(), TypeParam::kTapeLine));
      EXPECT_LE(stat.history.used, stat.history.committed) << tokens;
      EXPECT_LE(stat.history.committed, stat.history.reserved);
      EXPECT_EQ(stat.tokens, tokens);
      EXPECT_EQ(stat.capacity, 2 * kSideContext);
      EXPECT_EQ(stat.room, talk.room() + layout.talk(1).room());
    }
    talk.clear();
    EXPECT_EQ(layout.stat().history.used, 0U);
    EXPECT_EQ(layout.stat().history.peak, filled_by(1000));
    EXPECT_EQ(layout.stat().largest_talk, filled_by(1000));
  }
}

TYPED_TEST(SideContract, ItsPeaksAreWatchedAnew) {
  TypeParam side(side_plan(), {.commit = Commit::at_creation});
  auto talk = side.layout.talk(0);
  (void)talk.advance(20);
  talk.rewind(15);
  EXPECT_EQ(side.layout.restart_history_peaks(), filled_by(20));
  (void)talk.advance(2);
  EXPECT_EQ(side.layout.restart_history_peaks(), filled_by(7));
  EXPECT_EQ(side.layout.stat().history.peak, filled_by(20));
}

TYPED_TEST(SideContract, KnowsTheLongestTalkThereWas) {
  TypeParam side(side_plan(2), {.commit = Commit::at_creation});
  auto& layout = side.layout;
  EXPECT_EQ(layout.stat().longest_talk, 0U);
  (void)layout.talk(0).advance(7);
  (void)layout.talk(1).advance(5);
  layout.talk(0).rewind(3);
  (void)layout.talk(0).advance(1);
  EXPECT_EQ(layout.stat().longest_talk, 7U);
  (void)layout.talk(1).advance(4);
  EXPECT_EQ(layout.stat().cleared_tokens, 0U);
  layout.clear_talk(1);
  EXPECT_EQ(layout.stat().longest_talk, 9U);
  EXPECT_EQ(layout.stat().tokens, 5U);
  EXPECT_EQ(layout.stat().cleared_tokens, 9U);
  EXPECT_EQ(layout.stat().largest_talk, filled_by(9));
}

TYPED_TEST(SideContract, RefusesPlansItCannotHold) {
  const auto refuse = [](const Plan& plan, const std::string& argument) {
    EXPECT_EQ(thrown<InvalidArgument>([&] { TypeParam{plan}; }).argument(), argument);
  };
  Plan foreign = side_plan();
  foreign.profile = "llama.cpp";
  refuse(foreign, "Plan::profile");
  refuse(side_plan(0), "Plan::talks");
  refuse(side_plan(~std::uint64_t{0}), "Plan::talks");
  for (TapePlan Plan::*tape : {&Plan::weights, &Plan::scratch, &Plan::history}) {
    Plan strict = side_plan();
    (strict.*tape).append({.name = "strict", .bytes = 1, .alignment = std::uint64_t{1} << 30});
    refuse(strict, "Region::alignment");
    for (const TapeKind kind : {TapeKind::weights, TapeKind::scratch, TapeKind::history}) {
      Plan mixed = side_plan();
      if ((mixed.*tape).kind() == kind) continue;
      mixed.*tape = TapePlan(kind);
      refuse(mixed, "TapePlan::kind");
    }
  }
  Plan endless = side_plan();
  endless.weights.append({.name = "endless", .bytes = std::uint64_t{1} << 62});
  EXPECT_THROW(TypeParam(endless, {.commit = Commit::nothing}), Error);
}

// A region that is not in a layout's own plan is refused, rather than answered with other bytes.
TYPED_TEST(SideContract, ARegionThatIsNotItsOwnIsRefused) {
  TypeParam side(side_plan(), {.commit = Commit::at_creation});
  auto& layout = side.layout;
  const Plan same = side_plan();
  const Plan longer = side_plan(1, 2 * kSideContext);
  const Region& weight = same.weights.regions()[0];
  const Region& buffer = same.scratch.regions()[0];
  const Region& cache = same.history.regions()[1];
  Region moved = cache;
  moved.offset += 64;
  for (const Region& own : {cache, moved}) {
    EXPECT_EQ(layout.history_at(own).data(), layout.history().data() + cache.offset);
  }
  const std::vector<std::function<void()>> calls = {
      [&] { (void)layout.history_at(weight); },
      [&] { (void)layout.scratch_at(cache); },
      [&] { (void)layout.weights_at(buffer); },
      [&] { (void)layout.history_at(Region{.name = cache.name}); },
      [&] { (void)layout.history_at(longer.history.regions()[0]); },
      [&] { (void)layout.history_at(longer.history.regions()[1]); }};
  for (const auto& call : calls) EXPECT_EQ(thrown<InvalidArgument>(call).argument(), "region");
  EXPECT_EQ(thrown<InvalidArgument>([&] { (void)layout.weights_at(cache); }).advice(),
            "use history_at for this region");
}

TYPED_TEST(SideContract, ARegionIsGivenAsBytesOrInItsOwnType) {
  TypeParam side(side_plan(), {.commit = Commit::at_creation});
  const Region& cache = side.layout.plan().history.regions()[0];
  ASSERT_EQ(cache.dtype, DType::f32);
  EXPECT_EQ(side.layout.template history_at<float>(cache).size(), cache.bytes / 4);
  EXPECT_EQ(side.layout.template history_at<unsigned char>(cache).size(), cache.bytes);
  const auto narrower =
      thrown<InvalidArgument>([&] { (void)side.layout.template history_at<std::uint16_t>(cache); });
  EXPECT_EQ(narrower.value(), 2U);
  EXPECT_EQ(narrower.limit(), 4U);
  EXPECT_THROW((void)side.layout.template history_at<std::int32_t>(cache), InvalidArgument);
}

// --- layouts of little --------------------------------------------------------------------------

// Regression: a layout without any history dereferenced a null pointer.
TYPED_TEST(SideContract, EveryMemberWorksWhereThePlanHasLittle) {
  Plan encoder = side_plan(2);
  encoder.history = TapePlan(TapeKind::history);
  Plan window;
  window.history.append(cache_region("layers.0.k", RegionRole::window, 16, 64));
  for (const Commit commit : kCommits) {
    for (const Plan& plan : {Plan{}, encoder, window}) {
      TypeParam side(plan, {.commit = commit});
      auto& layout = side.layout;
      const std::size_t last = layout.talks() - 1;
      auto talk = layout.talk(last);
      EXPECT_EQ(talk.capacity(), kUnlimitedTokens);
      talk.prepare(100);  // it does not end the talk
      EXPECT_EQ(talk.advance(100), 0U);
      talk.rewind(1);
      EXPECT_EQ(talk.tokens(), 99U);
      EXPECT_EQ(layout.stat().capacity, 0U);
      EXPECT_EQ(layout.stat().tokens, 99U);
      (void)talk.decommit();
      (void)layout.decommit();
      (void)layout.restart_history_peaks();
      EXPECT_EQ(talk.stat().history.spills, 0U);
      EXPECT_FALSE(layout.history(last).owns(&plan));
      layout.clear_pass();
      layout.clear_talk(last);
      talk.close();
      EXPECT_EQ(layout.open_talk().index(), last);
      EXPECT_FALSE(layout.stat().line().empty());
      EXPECT_GE(layout.total(), plan.history.bytes());
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
