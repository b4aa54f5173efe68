#include "tapedeck/telemetry/recording/recorder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "telemetry/sizes.hpp"

namespace tapedeck::tests {
namespace {

using nlohmann::json;

std::vector<json> lines_of(const Recorder& recorder) {
  std::stringstream written;
  recorder.write(written);
  std::vector<json> lines;
  for (std::string line; std::getline(written, line);) lines.push_back(json::parse(line));
  return lines;
}

// Of a sample, by the names that the first line gives.
std::uint64_t figure(const std::vector<json>& lines, std::size_t sample, const std::string& name) {
  const json& names = lines[0]["figures"];
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return lines[sample]["figures"][i];
  }
  ADD_FAILURE() << "no figure " << name;
  return 0;
}

TEST(Recorder, WritesWhatTheStatWas) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.name = "chat \"1\"\n"});
  for (std::size_t pass = 1; pass <= 3; ++pass) {
    (void)layout.history().take(1_KiB);
    (void)layout.scratch().take(pass * 1_MiB);
    layout.clear_pass();
    recorder.pass();
  }
  const std::vector<json> lines = lines_of(recorder);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0]["schema"], "tapedeck.recording");
  EXPECT_EQ(lines[0]["version"], kRecordingVersion);
  EXPECT_EQ(lines[0]["layout"], "chat \"1\"\n");
  EXPECT_EQ(lines[0]["lines"], 3);
  EXPECT_EQ(lines[0]["taken"], 3);
  EXPECT_EQ(lines[0]["gpus"], 0);
  std::uint64_t last = 0;
  for (std::size_t pass = 1; pass <= 3; ++pass) {
    EXPECT_EQ(figure(lines, pass, "host.scratch.peak"), pass * 1_MiB);
    EXPECT_EQ(figure(lines, pass, "host.scratch.clears"), pass);
    EXPECT_EQ(figure(lines, pass, "host.history.used"), pass * 1_KiB);
    EXPECT_EQ(figure(lines, pass, "host.weights.reserved"), 4_MiB);
    EXPECT_EQ(lines[pass]["figures"].size(), lines[0]["figures"].size());
    EXPECT_GE(lines[pass]["t"].get<std::uint64_t>(), last);
    last = lines[pass]["t"];
  }
}

TEST(Recorder, SamplesEachSoManyPasses) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.every_passes = 10});
  for (int pass = 0; pass < 35; ++pass) {
    layout.clear_pass();
    recorder.pass();
  }
  EXPECT_EQ(recorder.taken(), 3U);
  recorder.sample();
  EXPECT_EQ(recorder.taken(), 4U);
  for (int pass = 0; pass < 9; ++pass) recorder.pass();
  EXPECT_EQ(recorder.taken(), 4U);  // counted from the last one
}

TEST(Recorder, SamplesNoNearerThanItIsTold) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.at_least_apart = std::chrono::hours(1)});
  for (int pass = 0; pass < 35; ++pass) recorder.pass();
  EXPECT_EQ(recorder.taken(), 1U);

  Recorder soon(layout, {.at_least_apart = std::chrono::microseconds(1)});
  while (soon.taken() < 3) soon.pass();
  const std::vector<json> lines = lines_of(soon);
  EXPECT_GT(lines[2]["t"], lines[1]["t"]);
  EXPECT_GT(lines[3]["t"], lines[2]["t"]);
}

TEST(Recorder, KeepsTheNewest) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.samples = 3});
  EXPECT_EQ(lines_of(recorder).size(), 1U);
  for (int i = 0; i < 8; ++i) {
    (void)layout.history().take(64);
    recorder.sample();
    recorder.enter("a");
    EXPECT_EQ(recorder.size(), std::min(i + 1, 3));
  }
  const std::vector<json> lines = lines_of(recorder);
  ASSERT_EQ(lines.size(), 1U + 3 + 3);
  EXPECT_EQ(lines[0]["lines"], 6);
  EXPECT_EQ(lines[0]["taken"], 8);
  std::vector<std::uint64_t> used;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].contains("figures")) used.push_back(figure(lines, i, "host.history.used"));
  }
  EXPECT_THAT(used, testing::ElementsAre(6 * 64, 7 * 64, 8 * 64));
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
  for (const json& line : lines_of(recorder)) {
    if (line.contains("enter")) order.push_back(line["enter"]);
    if (line.contains("leave")) order.emplace_back("leave");
  }
  EXPECT_THAT(order,
              testing::ElementsAre("load", "leave", "decode", "attention", "leave", "leave"));
}

// The scratch of a pass is gone when its sample is taken.
TEST(Recorder, KnowsWhatWasInUseBetweenSamples) {
  Layout layout(kSizes);
  Recorder recorder(layout);
  for (const std::size_t kib : {700U, 100U, 300U}) {
    (void)layout.scratch().take(kib * 1_KiB);
    layout.clear_pass();
    recorder.pass();
  }
  const Recording recording = recorder.recording();
  ASSERT_EQ(recording.samples(), 3U);
  EXPECT_EQ(recording.sample(0).peaks[0].scratch, 700_KiB);
  EXPECT_EQ(recording.sample(1).peaks[0].scratch, 100_KiB);
  EXPECT_EQ(recording.sample(2).peaks[0].scratch, 300_KiB);
  EXPECT_EQ(recording.sample(2).stat.scratch.peak, 700_KiB);
  EXPECT_EQ(recording.sample(2).stat.scratch.used, 0U);
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
  EXPECT_EQ(phases.figures()[0].host.scratch, 700_KiB);
  EXPECT_EQ(phases.figures()[1].host.scratch, 0U);
  EXPECT_EQ(recorder.recording().sample(0).peaks[0].scratch, 700_KiB);
  EXPECT_EQ(recorder.recording().sample(1).peaks[0].scratch, 200_KiB);
}

TEST(Recorder, HasDevicesAndThePlansRegions) {
  Plan plan;
  plan.scratch.append({.name = "decode.logits", .bytes = 64_KiB});
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 1024, 256));
  HostDevice device({.memory = 64_MiB});
  Layout layout(plan, {.gpus = {{.device = &device}}});
  Recorder recorder(layout);
  layout.gpu(0).talk(0).prepare(5);
  layout.gpu(0).talk(0).advance(5);
  recorder.sample();
  const std::vector<json> lines = lines_of(recorder);
  EXPECT_EQ(lines[0]["gpus"], 1);
  EXPECT_EQ(figure(lines, 1, "gpu0.history.planned"), layout.gpu(0).history().floor());
  EXPECT_EQ(figure(lines, 1, "gpu0.tokens"), 5U);
  EXPECT_EQ(figure(lines, 1, "gpu0.history.most_in_use"), 5U * 256);
  std::vector<std::string> regions;
  for (const json& region : lines[0]["regions"]) {
    regions.push_back(region["place"].get<std::string>() + ' ' + region["tape"].get<std::string>() +
                      ' ' + region["name"].get<std::string>());
  }
  EXPECT_THAT(regions,
              testing::ElementsAre("host scratch decode.logits", "host history layers.0.k",
                                   "gpu0 scratch decode.logits", "gpu0 history layers.0.k"));
  EXPECT_EQ(lines[0]["regions"][1]["bytes"], 256_KiB);
  EXPECT_EQ(lines[0]["regions"][1]["bytes_per_token"], 256);
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
  EXPECT_EQ(recording.marks[2].entered, "phase 0");
  EXPECT_EQ(recording.marks[16].entered, "phase 14");
  EXPECT_EQ(recording.marks[17].entered, "...");
  EXPECT_EQ(recording.marks[21].entered, "...");
}

TEST(Recorder, CountsNothingThatWasInUseBeforeIt) {
  Layout layout(kSizes);
  (void)layout.scratch().take(3_MiB);
  layout.clear_pass();
  Recorder recorder(layout);
  (void)layout.scratch().take(1_KiB);
  layout.clear_pass();
  recorder.pass();
  EXPECT_EQ(recorder.recording().sample(0).peaks[0].scratch, 1_KiB);
}

TEST(Recorder, RefusesWhatMakesNoSense) {
  Layout layout(kSizes);
  const auto refusal = [&layout](const RecorderOptions& options) {
    return thrown<InvalidArgument>([&] { const Recorder recorder(layout, options); });
  };
  EXPECT_EQ(refusal({.samples = 0}).argument(), "RecorderOptions::samples");
  EXPECT_EQ(refusal({.samples = 0}).limit(), 1U);
  EXPECT_EQ(refusal({.samples = (1U << 24U) + 1}).limit(), 1U << 24U);
  EXPECT_EQ(refusal({.every_passes = 0}).argument(), "RecorderOptions::every_passes");
  EXPECT_EQ(refusal({.at_least_apart = std::chrono::microseconds(-1)}).argument(),
            "RecorderOptions::at_least_apart");
}

TEST(Recorder, WritesNamesThatAreNoText) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.name = "\xff\xfe"});
  recorder.enter("\xc3");
  EXPECT_EQ(lines_of(recorder).size(), 2U);
}

}  // namespace
}  // namespace tapedeck::tests
