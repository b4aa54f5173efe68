#include "tapedeck/telemetry/report/advice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
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

using ::testing::HasSubstr;

constexpr LayoutSizes kAdvisedSizes = {.weights = 4_MiB, .scratch = 64_MiB, .history = 64_MiB};

const TapeAdvice& of(const Advice& advice, TapeKind tape, Place place = Place::host()) {
  for (const TapeAdvice& one : advice.tapes) {
    if (one.tape == tape && one.place == place) return one;
  }
  throw std::runtime_error("no advice for " + to_string(place) + " " + to_string(tape));
}

// What was advised holds what was done.
TEST(Advice, IsEnoughForTheSameAgain) {
  for (const std::size_t kib : {1U, 60U, 64U, 900U, 1024U, 5000U, 33'000U, 60'000U}) {
    Layout layout(kAdvisedSizes);
    (void)layout.scratch().take(kib * 1_KiB);
    layout.clear_pass();
    const TapeAdvice exact = of(advise(layout, {.margin = 0}), TapeKind::scratch);
    EXPECT_EQ(exact.observed, kib * 1_KiB);
    EXPECT_GE(exact.reserve, exact.observed);
    EXPECT_LE(exact.reserve, exact.observed + exact.observed / 16 + 64_KiB);
    const TapeAdvice tenth = of(advise(layout), TapeKind::scratch);
    EXPECT_GE(tenth.reserve, exact.observed + exact.observed / 10);
    Layout again({.weights = 4_MiB, .scratch = tenth.reserve, .history = 1_MiB});
    EXPECT_NE(again.scratch().try_take(kib * 1_KiB), nullptr);
  }
}

TEST(Advice, TellsRoomyFromFittingAndUnused) {
  Layout layout(kAdvisedSizes);
  (void)layout.weights().take(4_MiB);
  (void)layout.scratch().take(61_MiB);
  Advice advice = advise(layout);
  EXPECT_EQ(of(advice, TapeKind::weights).finding, TapeFinding::fits);
  EXPECT_EQ(of(advice, TapeKind::weights).reserve, 4_MiB);  // no margin: they do not vary
  EXPECT_EQ(of(advice, TapeKind::scratch).finding, TapeFinding::fits);
  EXPECT_EQ(of(advice, TapeKind::scratch).text,
            "scratch peaked at 95 % of what is reserved: it fits");
  EXPECT_EQ(of(advice, TapeKind::history).finding, TapeFinding::unused);
  EXPECT_EQ(of(advice, TapeKind::history).text, "nothing was ever taken from history");
  EXPECT_EQ(of(advice, TapeKind::history).reserve, 0U);
  (void)layout.history().take(39_MiB);
  EXPECT_EQ(of(advise(layout), TapeKind::history).text,
            "history peaked at 60 % of what is reserved: 44 MiB would do");
  EXPECT_EQ(advise(layout).context, 0U);
}

TEST(Advice, CountsWhatWasSpilled) {
  LedgerSpill spill;
  LayoutOptions options;
  options.scratch.spill = &spill;
  Layout layout({.weights = 4_MiB, .scratch = 64_MiB, .history = 1_MiB}, std::move(options));
  (void)layout.scratch().take(60_MiB);
  for (int i = 0; i < 3; ++i) (void)layout.scratch().take(10_MiB);
  layout.clear_pass();
  const TapeAdvice scratch = of(advise(layout), TapeKind::scratch);
  EXPECT_EQ(scratch.finding, TapeFinding::spilled);
  EXPECT_EQ(scratch.observed, 90_MiB);
  EXPECT_EQ(scratch.reserve, 100_MiB);
  EXPECT_EQ(scratch.text, "scratch spilled 3 times, 30 MiB at a time: reserve 100 MiB");
}

TEST(Advice, WantsMoreWhereTakesWereRefused) {
  Layout layout(kAdvisedSizes);
  (void)layout.scratch().take(1_MiB);
  (void)layout.scratch().try_take(100_MiB);
  const TapeAdvice scratch = of(advise(layout), TapeKind::scratch);
  EXPECT_EQ(scratch.finding, TapeFinding::refused);
  EXPECT_GT(scratch.reserve, 64_MiB);
  EXPECT_THAT(scratch.text, HasSubstr("scratch refused takes once, with 64 MiB: reserve 72 MiB"));
}

/// Two talks of 4096 tokens, a KiB each, a window of 256 and a state.
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
  EXPECT_EQ(advice.context, 1280U);  // 1100, in cells of 256
  const TapeAdvice history = of(advice, TapeKind::history);
  EXPECT_EQ(history.observed, 2 * (1000_KiB + 256_KiB + 64_KiB));
  EXPECT_EQ(history.reserve, 2 * (1280_KiB + 256_KiB + 64_KiB));
  EXPECT_EQ(
      history.text,
      "history would be at 29 % of plan with all talks as long as the longest: 3.1 MiB would do");
  EXPECT_EQ(of(advice, TapeKind::scratch).reserve, 1_MiB);  // planned: no margin
  EXPECT_EQ(of(advice, TapeKind::scratch).text, "scratch peaked at 100 % of plan: 1 MiB would do");
  EXPECT_EQ(advice.text, "the longest talk had 1000 tokens: plan a talk for 1280");
  // Where nothing was held, nothing is needed.
  EXPECT_EQ(of(advice, TapeKind::history, Place::gpu(0)).finding, TapeFinding::unused);
  layout.gpu(0).talk(0).prepare(1000);
  layout.gpu(0).talk(0).advance(1000);
  const Advice both = advise(layout);
  EXPECT_EQ(of(both, TapeKind::history, Place::gpu(0)).reserve, history.reserve);
  EXPECT_THAT(of(both, TapeKind::history, Place::gpu(0)).text,
              HasSubstr("gpu0 history would be at"));
}

TEST(Advice, TakesAPlannedHistoryForUsedWhereNobodyCountsTokens) {
  Layout layout(plan());
  layout.clear_pass();
  const Advice advice = advise(layout);
  EXPECT_EQ(advice.context, 0U);
  EXPECT_EQ(of(advice, TapeKind::history).finding, TapeFinding::fits);
  EXPECT_EQ(of(advice, TapeKind::history).observed, layout.stat().history.planned);
  EXPECT_EQ(of(advice, TapeKind::history).text, "history peaked at 100 % of plan: it fits");
}

// Each may be the longest the next time.
TEST(Advice, GivesAllTalksWhatTheLargestNeeds) {
  Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 32_MiB}, {.talks = 4});
  for (std::size_t talk = 0; talk < 4; ++talk) {
    (void)layout.history(talk).take(talk == 2 ? 10_MiB : 1_MiB);
  }
  layout.clear_talk(2);
  const TapeAdvice history = of(advise(layout), TapeKind::history);
  EXPECT_EQ(history.observed, 40_MiB);
  EXPECT_EQ(history.text,
            "history would be at 31 % of what is reserved with all talks as long as the longest: "
            "44 MiB would do");
  Layout again({.weights = 4_MiB, .scratch = 1_MiB, .history = history.reserve / 4}, {.talks = 4});
  EXPECT_NE(again.history(2).try_take(10_MiB), nullptr);
}

TEST(Advice, SaysOfWhatItTellsTheShare) {
  LayoutOptions options{.extra = {.weights = 0, .scratch = 1_MiB, .history = 0}};
  Layout layout(plan(), std::move(options));
  (void)layout.scratch().take(512_KiB);
  EXPECT_THAT(of(advise(layout), TapeKind::scratch).text,
              HasSubstr("scratch peaked at 75 % of what is reserved"));
}

TEST(Advice, NeverWantsALongerContextThanThereIs) {
  Layout layout(plan());
  layout.talk(0).advance(4096);
  const Advice advice = advise(layout);
  EXPECT_EQ(advice.context, 4096U);
  EXPECT_EQ(of(advice, TapeKind::history).finding, TapeFinding::fits);
  EXPECT_EQ(of(advice, TapeKind::history).reserve, 2 * (4_MiB + 256_KiB + 64_KiB));
}

// A plan of the context that is advised needs what is advised.
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
  EXPECT_GE(of(advice, TapeKind::history).reserve + 2 * 4_KiB, needed);
  EXPECT_LE(of(advice, TapeKind::history).reserve, needed + 2 * 4_KiB);
  layout.talk(0).advance(1000);
  EXPECT_EQ(of(advise(layout), TapeKind::history).text, "history peaked at 100 % of plan: it fits");
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
  for (std::size_t i = 0; i < now.tapes.size(); ++i) {
    EXPECT_EQ(then.tapes[i].text, now.tapes[i].text);
    EXPECT_EQ(then.tapes[i].reserve, now.tapes[i].reserve);
  }
  EXPECT_TRUE(advise(Recording()).tapes.empty());
}

TEST(Advice, ComesToNoHarmFromHostileFigures) {
  Layout layout(plan());
  Recorder recorder(layout);
  recorder.sample();
  Recording recording = recorder.recording();
  for (std::uint64_t& word : recording.words) word = kMost;
  for (RecordedRegion& region : recording.regions) region.bytes = region.bytes_per_token = kMost;
  for (const double margin : {0.0, 0.1, 10.0}) {
    const Advice advice = advise(recording, {.margin = margin});
    ASSERT_EQ(advice.tapes.size(), 3U);
    EXPECT_EQ(advice.tapes[2].reserve, kMost);
  }
}

TEST(Advice, RefusesAMarginThatIsNone) {
  const Layout layout(kAdvisedSizes);
  for (const double margin : {-0.1, 10.5, std::nan("")}) {
    EXPECT_THROW(static_cast<void>(advise(layout, {.margin = margin})), InvalidArgument);
  }
}

}  // namespace
}  // namespace tapedeck::tests
