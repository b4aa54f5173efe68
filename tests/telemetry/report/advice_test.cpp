// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/report/advice.hpp"

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "base/most.hpp"
#include "layout/cache_region.hpp"
#include "memory/ledger_spill.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"

namespace tapedeck::tests {
namespace {

constexpr LayoutSizes kAdvisedSizes = {.weights = 4_MiB, .scratch = 64_MiB, .history = 64_MiB};

/// The finding, the observed peak, how much to reserve, and the text.
using Advised = std::tuple<TapeFinding, std::uint64_t, std::uint64_t, std::string>;

Advised advised_by(const Advice& advice, TapeKind tape, Place place = Place::host()) {
  for (const TapeAdvice& one : advice.tapes) {
    if (one.tape == tape && one.place == place) {
      return {one.finding, one.observed, one.reserve, one.text};
    }
  }
  throw std::runtime_error("no advice for " + to_string(place) + " " + to_string(tape));
}

// What is advised must be enough for what was observed.
TEST(Advice, IsEnoughForTheSameAgain) {
  for (const std::size_t kib : {1U, 60U, 64U, 900U, 1024U, 5000U, 33'000U, 60'000U}) {
    Layout layout(kAdvisedSizes);
    (void)layout.scratch().take(kib * 1_KiB);
    layout.clear_pass();
    const TapeAdvice advice = advise(layout).tapes.at(1);
    EXPECT_EQ(advice.observed, kib * 1_KiB);
    const std::uint64_t tenth_more = advice.observed + advice.observed / 10;
    EXPECT_GE(advice.reserve, tenth_more);
    EXPECT_LE(advice.reserve, tenth_more + tenth_more / 16 + 64_KiB);
    Layout again({.weights = 4_MiB, .scratch = advice.reserve, .history = 1_MiB});
    EXPECT_NE(again.scratch().try_take(kib * 1_KiB), nullptr);
  }
}

TEST(Advice, TellsRoomyFromFittingAndUnused) {
  Layout layout(kAdvisedSizes);
  (void)layout.weights().take(4_MiB);
  (void)layout.scratch().take(61_MiB);
  const Advice advice = advise(layout);
  EXPECT_EQ(advice.context, 0U);
  EXPECT_EQ(advised_by(advice, TapeKind::weights),  // no margin, because weights do not vary
            Advised(TapeFinding::fits, 4_MiB, 4_MiB,
                    "weights peaked at 100 % of what is reserved: it fits"));
  EXPECT_EQ(advised_by(advice, TapeKind::scratch),
            Advised(TapeFinding::fits, 61_MiB, 68_MiB,
                    "scratch peaked at 95 % of what is reserved: it fits"));
  EXPECT_EQ(advised_by(advice, TapeKind::history),
            Advised(TapeFinding::unused, 0, 0, "nothing was ever taken from history"));
  (void)layout.history().take(39_MiB);
  EXPECT_EQ(advised_by(advise(layout), TapeKind::history),
            Advised(TapeFinding::roomy, 39_MiB, 44_MiB,
                    "history peaked at 60 % of what is reserved: 44 MiB would do"));
}

TEST(Advice, CountsWhatWasSpilledOrRefused) {
  LedgerSpill spill;
  LayoutOptions options;
  options.scratch.spill = &spill;
  Layout layout({.weights = 4_MiB, .scratch = 64_MiB, .history = 64_MiB}, std::move(options));
  (void)layout.scratch().take(60_MiB);
  for (int i = 0; i < 3; ++i) (void)layout.scratch().take(10_MiB);
  layout.clear_pass();
  (void)layout.history().take(1_MiB);
  (void)layout.history().try_take(100_MiB);
  const Advice advice = advise(layout);
  EXPECT_EQ(advised_by(advice, TapeKind::scratch),
            Advised(TapeFinding::spilled, 90_MiB, 100_MiB,
                    "scratch spilled 3 times, up to 30 MiB at once: reserve 100 MiB"));
  EXPECT_EQ(
      advised_by(advice, TapeKind::history),
      Advised(TapeFinding::refused, 1_MiB, 72_MiB,
              "history refused a take once, with 64 MiB reserved: reserve 72 MiB and check again"));
}

/// Two talks of 4096 tokens with a KiB each, a window of 256 and a state.
Plan plan() {
  Plan plan;
  plan.talks = 2;
  plan.context_per_talk = 4096;
  plan.scratch.append({.name = "decode.logits", .bytes = 1_MiB});
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 4096, 1024));
  plan.history.append(cache_region("layers.1.k", RegionRole::window, 256, 1024));
  plan.history.append({.name = "layers.2.state", .role = RegionRole::recurrent, .bytes = 64_KiB});
  return plan;
}

TEST(Advice, OfAPlannedHistoryIsTokens) {
  HostDevice device({.memory = 64_MiB});
  LayoutOptions options{.commit = Commit::with_talks,
                        .extra = {.weights = 0, .scratch = 8_MiB, .history = 0}};
  options.gpus.push_back({.device = &device});
  Layout layout(plan(), std::move(options));
  layout.talk(1).prepare(1000);
  layout.talk(1).advance(1000);
  layout.clear_talk(1);
  const Advice advice = advise(layout);
  EXPECT_EQ(advice.longest_talk, 1000U);
  EXPECT_EQ(advice.context, 1280U);  // 1100, rounded up to cells of 256
  EXPECT_EQ(advice.text, "the longest talk had 1000 tokens: plan a talk for 1280");
  const std::string share =
      "history would reach 29 % of plan if all talks were as long as the longest: 3.1 MiB would do";
  const std::uint64_t observed = 2 * (1000_KiB + 256_KiB + 64_KiB);
  const std::uint64_t reserve = 2 * (1280_KiB + 256_KiB + 64_KiB);
  EXPECT_EQ(advised_by(advice, TapeKind::history),
            Advised(TapeFinding::roomy, observed, reserve, share));
  EXPECT_EQ(
      advised_by(advice, TapeKind::scratch),  // planned, so without a margin
      Advised(TapeFinding::roomy, 1_MiB, 1_MiB, "scratch peaked at 100 % of plan: 1 MiB would do"));
  // A tape that held nothing needs nothing.
  EXPECT_EQ(advised_by(advice, TapeKind::history, Place::gpu(0)),
            Advised(TapeFinding::unused, 0, 0, "nothing was ever taken from gpu0 history"));
  layout.gpu(0).talk(0).prepare(1000);
  layout.gpu(0).talk(0).advance(1000);
  EXPECT_EQ(advised_by(advise(layout), TapeKind::history, Place::gpu(0)),
            Advised(TapeFinding::roomy, observed, reserve, "gpu0 " + share));
}

TEST(Advice, TakesAPlannedHistoryForUsedIfTokensAreNotCounted) {
  Layout layout(plan());
  layout.clear_pass();
  const Advice advice = advise(layout);
  const std::uint64_t planned = layout.stat().history.planned;
  EXPECT_EQ(advice.context, 0U);
  EXPECT_EQ(advised_by(advice, TapeKind::history),
            Advised(TapeFinding::fits, planned, planned,
                    "history may have used 100 % of plan, because its tokens are not counted: it "
                    "fits"));
}

// Regression: "history peaked at 100 % of plan: it fits", before anything had happened.
TEST(Advice, OfALayoutThatHasNotWorkedIsThatNothingWasTaken) {
  const Advised unused(TapeFinding::unused, 0, 0, "nothing was ever taken from history");
  for (const Commit commit : {Commit::at_creation, Commit::with_talks, Commit::nothing}) {
    const Layout layout(plan(), {.commit = commit});
    EXPECT_EQ(advised_by(advise(layout), TapeKind::history), unused);
  }
  // Without `prepare`, an engine can only have used what has no tokens: the states.
  Layout layout(plan(), {.commit = Commit::with_talks});
  layout.clear_pass();
  EXPECT_EQ(std::get<1>(advised_by(advise(layout), TapeKind::history)), 2 * 64_KiB);
}

// Regression: "reserve more", of a tape that was large enough.
TEST(Advice, TellsABudgetFromATape) {
  const std::string budget = " because the history budget of 256 KiB was exhausted: raise ";
  Layout layout(plan(), {.commit = Commit::with_talks, .history_budget = 256_KiB});
  Talk talk = layout.talk(0);
  EXPECT_THROW(talk.prepare(1000), OutOfMemory);
  talk.prepare(8);
  talk.advance(8);
  const std::uint64_t reserve = 2 * (256_KiB + 256_KiB + 64_KiB);
  EXPECT_EQ(advised_by(advise(layout), TapeKind::history),
            Advised(TapeFinding::over_budget, 2 * (16_KiB + 64_KiB), reserve,
                    "prepare was refused once" + budget +
                        "LayoutOptions::history_budget, or close talks"));
  EXPECT_THROW(talk.prepare(1000), OutOfMemory);
  EXPECT_THROW(talk.prepare(5000), TalkFull);  // not for the budget
  Recorder recorder(layout);
  recorder.sample();
  for (const Advice& advice : {advise(layout), advise(recorder.recording())}) {
    const auto& [finding, observed, more, text] = advised_by(advice, TapeKind::history);
    EXPECT_EQ(finding, TapeFinding::refused);
    EXPECT_GT(more, layout.stat().history.reserved);
    EXPECT_TRUE(text.starts_with("history refused a take, prepare or advance once, with ")) << text;
    EXPECT_TRUE(text.ends_with("; prepare was refused 2 times" + budget +
                               "LayoutOptions::history_budget, or close talks"))
        << text;
  }
}

TEST(Advice, TellsABudgetOfADevice) {
  HostDevice device({.memory = 64_MiB});
  DeviceLayoutOptions on_device = {.commit = Commit::with_talks};
  on_device.history_budget = 6_MiB;
  Layout layout(plan(),
                {.commit = Commit::nothing, .gpus = {{.device = &device, .options = on_device}}});
  EXPECT_THROW(
      {
        layout.gpu(0).talk(0).prepare(4096);
        layout.gpu(0).talk(1).prepare(4096);
      },
      OutOfMemory);
  const auto& [finding, observed, reserve, text] =
      advised_by(advise(layout), TapeKind::history, Place::gpu(0));
  EXPECT_EQ(finding, TapeFinding::over_budget);
  EXPECT_STREQ(to_string(finding), "over_budget");  // a class of the page
  EXPECT_EQ(text,
            "prepare was refused once on gpu0 because the history budget of 6 MiB was "
            "exhausted: raise DeviceLayoutOptions::history_budget, or close talks");
}

// Any of them may be the longest next time.
TEST(Advice, GivesAllTalksWhatTheLargestNeeds) {
  Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 32_MiB}, {.talks = 4});
  for (std::size_t talk = 0; talk < 4; ++talk) {
    (void)layout.history(talk).take(talk == 2 ? 10_MiB : 1_MiB);
  }
  layout.clear_talk(2);
  EXPECT_EQ(advised_by(advise(layout), TapeKind::history),
            Advised(TapeFinding::roomy, 40_MiB, 44_MiB,
                    "history would reach 31 % of what is reserved if all talks were as long as "
                    "the longest: 44 MiB would do"));
}

TEST(Advice, SaysOfWhatItTellsTheShare) {
  LayoutOptions options{.extra = {.weights = 0, .scratch = 1_MiB, .history = 0}};
  Layout layout(plan(), std::move(options));
  (void)layout.scratch().take(512_KiB);
  EXPECT_EQ(std::get<std::string>(advised_by(advise(layout), TapeKind::scratch)),
            "scratch peaked at 75 % of what is reserved: it fits");
}

TEST(Advice, NeverWantsALongerContextThanThereIs) {
  Layout layout(plan());
  layout.talk(0).advance(4096);
  const Advice advice = advise(layout);
  const std::uint64_t all = 2 * (4_MiB + 256_KiB + 64_KiB);
  EXPECT_EQ(advice.context, 4096U);
  EXPECT_EQ(advised_by(advice, TapeKind::history),
            Advised(TapeFinding::fits, all, all,
                    "history would reach 100 % of plan if all talks were as long as the longest: "
                    "it fits"));
}

// A plan for the advised context needs the advised size.
TEST(Advice, OfAPlannedHistoryIsWhatThePlanWouldBe) {
  const auto plan_of = [](std::uint64_t context) {
    Plan plan;
    for (const char* const name : {"a", "b", "c"}) {
      plan.history.append(cache_region(name, RegionRole::kv, context, 100));  // padded to pages
    }
    return plan;
  };
  Layout layout(plan_of(5000));
  layout.talk(0).advance(4000);
  const Advice advice = advise(layout);
  EXPECT_EQ(advice.context, 4608U);
  const std::uint64_t needed = plan_of(advice.context).history.bytes();
  EXPECT_NEAR(static_cast<double>(std::get<2>(advised_by(advice, TapeKind::history))),
              static_cast<double>(needed), 2 * 4_KiB);
  layout.talk(0).advance(1000);
  EXPECT_EQ(std::get<std::string>(advised_by(advise(layout), TapeKind::history)),
            "history peaked at 100 % of plan: it fits");
}

TEST(Advice, IsTheSameFromARecording) {
  Layout layout(plan());
  Recorder recorder(layout);
  layout.talk(0).advance(700);
  layout.clear_pass();
  recorder.pass();
  const Advice now = advise(layout);
  const Advice then = advise(recorder.recording());
  EXPECT_EQ(then.context, now.context);
  ASSERT_EQ(then.tapes.size(), now.tapes.size());
  for (const TapeAdvice& tape : now.tapes)
    EXPECT_EQ(advised_by(then, tape.tape), advised_by(now, tape.tape));
  EXPECT_TRUE(advise(Recording()).tapes.empty());
}

TEST(Advice, ComesToNoHarmFromHostileFigures) {
  Layout layout(plan());
  Recorder recorder(layout);
  recorder.sample();
  Recording recording = recorder.recording();
  for (std::uint64_t& word : recording.words) word = kMost;
  for (RecordedRegion& region : recording.regions) region.bytes = region.bytes_per_token = kMost;
  const Advice advice = advise(recording);
  ASSERT_EQ(advice.tapes.size(), 3U);
  EXPECT_EQ(advice.tapes[2].reserve, kMost);
}

}  // namespace
}  // namespace tapedeck::tests
