// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/recording/recorder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "os/process.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

TEST(Recorder, SamplesNoNearerThanItIsTold) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.at_least_apart = std::chrono::hours(1)});
  for (int pass = 0; pass < 35; ++pass) recorder.pass();
  EXPECT_EQ(recorder.taken(), 1U);
  recorder.sample();  // takes a sample whenever it is called
  EXPECT_EQ(recorder.taken(), 2U);

  Recorder soon(layout, {.at_least_apart = std::chrono::microseconds(1)});
  while (soon.taken() < 3) soon.pass();
  const Recording recording = soon.recording();
  EXPECT_GT(recording.sample(1).at, recording.sample(0).at);
  EXPECT_GT(recording.sample(2).at, recording.sample(1).at);
}

TEST(Recorder, KeepsTheNewest) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.samples = 3});
  EXPECT_EQ(recorder.recording().samples(), 0U);
  for (std::size_t i = 1; i <= 8; ++i) {
    (void)layout.history().take(64);
    recorder.sample();
    recorder.enter(std::to_string(i));
    EXPECT_EQ(recorder.size(), std::min<std::size_t>(i, 3));
  }
  const Recording recording = recorder.recording();
  EXPECT_EQ(recording.taken, 8U);
  ASSERT_EQ(recording.samples(), 3U);
  ASSERT_EQ(recording.marks.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(recording.sample(i).stat.history.used, (6 + i) * 64);
    EXPECT_EQ(recording.marks[i].entered, std::to_string(6 + i));
  }
}

TEST(Recorder, MarksPhasesWhereTheyWere) {
  Layout layout(kSizes);
  Recorder recorder(layout);
  Phases phases(layout, &recorder);
  phases.push("load");
  recorder.sample();
  phases.pop();
  phases.push("decode");
  phases.push("attention");
  phases.pop();
  phases.pop();
  std::vector<std::string> order;
  for (const RecordedMark& mark : recorder.recording().marks) {
    order.push_back(mark.entered.value_or("leave"));
  }
  EXPECT_THAT(order,
              testing::ElementsAre("load", "leave", "decode", "attention", "leave", "leave"));
}

// The scratch of a pass is already cleared when its sample is taken.
TEST(Recorder, KnowsWhatWasInUseBetweenSamples) {
  Layout layout(kSizes);
  (void)layout.scratch().take(3_MiB);  // before the recorder exists, so in no sample
  layout.clear_pass();
  Recorder recorder(layout);
  const std::vector<std::uint64_t> taken = {700_KiB, 100_KiB, 300_KiB};
  for (const std::uint64_t bytes : taken) {
    (void)layout.scratch().take(bytes);
    layout.clear_pass();
    recorder.pass();
  }
  const Recording recording = recorder.recording();
  ASSERT_EQ(recording.samples(), taken.size());
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(recording.sample(i).peaks.scratch, taken[i]);
    EXPECT_EQ(recording.sample(i).stat.scratch.peak, 3_MiB);
    EXPECT_EQ(recording.sample(i).stat.scratch.used, 0U);
  }
}

// Both restart the peaks of the same tapes.
TEST(Recorder, AndPhasesEachSeeAllThatWasInUse) {
  Layout layout(kSizes);
  Recorder recorder(layout);
  Phases phases(layout, &recorder);
  phases.push("prefill");
  (void)layout.scratch().take(700_KiB);
  layout.clear_pass();
  recorder.pass();
  (void)layout.scratch().take(200_KiB);
  layout.clear_pass();
  phases.pop();
  phases.push("decode");
  recorder.pass();
  phases.pop();
  EXPECT_EQ(phases.figures()[0].peaks.scratch, 700_KiB);
  EXPECT_EQ(phases.figures()[1].peaks.scratch, 0U);
  EXPECT_EQ(recorder.recording().sample(0).peaks.scratch, 700_KiB);
  EXPECT_EQ(recorder.recording().sample(1).peaks.scratch, 200_KiB);
}

TEST(Recorder, KeepsTheNamesOfPhasesThatAreGone) {
  Layout layout(kSizes);
  Recorder recorder(layout);
  {
    Phases phases(layout, &recorder);
    const PhaseScope phase(phases, "a name that is longer than 31 bytes");
  }
  for (int i = 0; i < 20; ++i) recorder.enter("phase " + std::to_string(i));
  const Recording recording = recorder.recording();
  ASSERT_EQ(recording.marks.size(), 22U);
  EXPECT_EQ(recording.marks[0].entered, "a name that is longer than 31 b");
  EXPECT_EQ(recording.marks[1].entered, std::nullopt);
  EXPECT_EQ(recording.marks[2].entered, "phase 0");
  EXPECT_EQ(recording.marks[21].entered, "phase 19");
}

// Regression: each restarted the peaks that the others had not yet seen.
TEST(Recorder, SeveralOfOneLayoutHaveTheirOwnPeaks) {
  Layout layout(kSizes);
  Recorder every(layout);
  Phases phases(layout, &every);
  const auto pass = [&](std::size_t bytes) {
    (void)layout.scratch().take(bytes);
    layout.clear_pass();
    every.pass();
  };
  const auto newest = [](const Recorder& recorder) {
    const Recording recording = recorder.recording();
    return recording.sample(recording.samples() - 1).peaks.scratch;
  };
  pass(3_MiB);
  std::optional<Recorder> rare(std::in_place, layout);
  Phases others(layout);
  phases.push("a");
  pass(1_MiB);
  EXPECT_EQ(newest(every), 1_MiB);
  others.push("b");
  pass(2_MiB);
  EXPECT_EQ(newest(every), 2_MiB);
  phases.pop();
  pass(64_KiB);
  EXPECT_EQ(newest(every), 64_KiB);
  others.pop();
  rare->sample();
  EXPECT_EQ(newest(*rare), 2_MiB);  // since it was created
  EXPECT_EQ(phases.figures().at(0).peaks.scratch, 2_MiB);
  EXPECT_EQ(others.figures().at(0).peaks.scratch, 2_MiB);
  rare.reset();
  pass(128_KiB);
  EXPECT_EQ(newest(every), 128_KiB);
}

TEST(Recorder, NotesTheRun) {
  const auto now = [] {
    return static_cast<std::uint64_t>(std::chrono::floor<std::chrono::seconds>(
                                          std::chrono::system_clock::now().time_since_epoch())
                                          .count());
  };
  Layout layout(kSizes);
  const std::uint64_t before = now();
  const Recorder recorder(layout, {.model = "llama.gguf", .command = "engine -p 'a b'"});
  const RecordedRun run = recorder.recording().run;
  EXPECT_GE(run.began, before);
  EXPECT_LE(run.began, now());
  EXPECT_EQ(run.host, internal::os::host_name());
  EXPECT_EQ(run.model, "llama.gguf");
  EXPECT_EQ(run.command, "engine -p 'a b'");
  const RecordedRun of_nothing = Recorder(layout).recording().run;
  EXPECT_EQ(of_nothing.model, "");
  EXPECT_EQ(of_nothing.command, "");
}

TEST(Recorder, CutsLongTextsOfTheRun) {
  Layout layout(kSizes);
  const std::string almost(kRunTextBytes - 1, 'a');
  const Recorder recorder(layout, {.model = almost + "bc", .command = almost + "\u00e9"});
  EXPECT_EQ(recorder.recording().run.model, almost + "b");
  EXPECT_EQ(recorder.recording().run.command, almost);  // not half of a character
}

TEST(Recorder, RefusesWhatMakesNoSense) {
  Layout layout(kSizes);
  const auto refusal = [&layout](const RecorderOptions& options) {
    return thrown<InvalidArgument>([&] { const Recorder recorder(layout, options); });
  };
  EXPECT_EQ(refusal({.samples = 0}).argument(), "RecorderOptions::samples");
  EXPECT_EQ(refusal({.samples = 0}).limit(), 1U);
  EXPECT_EQ(refusal({.samples = (1U << 24U) + 1}).limit(), 1U << 24U);
  EXPECT_EQ(refusal({.at_least_apart = std::chrono::microseconds(-1)}).argument(),
            "RecorderOptions::at_least_apart");
}

}  // namespace
}  // namespace tapedeck::tests
