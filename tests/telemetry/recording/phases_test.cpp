// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/recording/phases.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

void pass(Layout& layout, std::size_t scratch, std::size_t history = 0) {
  (void)layout.scratch().take(scratch);
  (void)layout.history().take(history);
  layout.clear_pass();
}

/// For each phase: its name, how often it was entered, its passes, and the peaks of the host's
/// weights, scratch and history.
using NamedNumbers = std::vector<std::pair<std::string, std::array<std::uint64_t, 5>>>;

NamedNumbers numbers_of(const Phases& phases) {
  NamedNumbers all;
  for (const PhaseFigures& one : phases.figures()) {
    all.push_back(
        {one.name,
         {one.times, one.passes, one.peaks.weights, one.peaks.scratch, one.peaks.history}});
  }
  return all;
}

class PhasesOfALayout : public ::testing::Test {
 protected:
  Layout layout_{kSizes};
  Phases phases_{layout_};
};

TEST_F(PhasesOfALayout, HavePeaksOfTheirOwn) {
  {
    const PhaseScope load(phases_, "load");
    (void)layout_.weights().take(3_MiB);
  }
  pass(layout_, 3_MiB);  // outside all phases
  for (int turn = 0; turn < 2; ++turn) {
    const PhaseScope prefill(phases_, "prefill");
    pass(layout_, 2_MiB, 1_MiB);
  }
  {
    const PhaseScope decode(phases_, "decode");
    for (int token = 0; token < 3; ++token) pass(layout_, 64_KiB, 1_KiB);
  }
  EXPECT_EQ(numbers_of(phases_), (NamedNumbers{{"load", {1, 0, 3_MiB, 0, 0}},
                                               {"prefill", {2, 2, 3_MiB, 2_MiB, 2_MiB}},
                                               {"decode", {1, 3, 3_MiB, 64_KiB, 2_MiB + 3_KiB}}}));
  EXPECT_EQ(layout_.scratch().peak(), 3_MiB);
  EXPECT_EQ(layout_.stat().scratch.peak, 3_MiB);
  EXPECT_EQ(phases_.unnamed(), 0U);
}

TEST_F(PhasesOfALayout, CountInThoseAroundThem) {
  phases_.push("talk");
  pass(layout_, 1_MiB);
  phases_.push("prefill");
  pass(layout_, 3_MiB);
  phases_.pop();
  phases_.push("decode");
  phases_.push("decode");  // inside itself, so nothing counts twice
  pass(layout_, 2_MiB);
  phases_.pop();
  phases_.pop();
  phases_.pop();
  EXPECT_EQ(numbers_of(phases_), (NamedNumbers{{"talk", {1, 3, 0, 3_MiB, 0}},
                                               {"prefill", {1, 1, 0, 3_MiB, 0}},
                                               {"decode", {2, 1, 0, 2_MiB, 0}}}));
}

TEST(Phases, HaveWhatIsTakenOnDevices) {
  Plan plan;
  plan.talks = 2;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 1024, 256));
  HostDevice device({.memory = 64_MiB});
  DeviceLayoutOptions on_device;
  on_device.frames = 2;
  on_device.extra.scratch = 1_MiB;
  on_device.extra.history = 1_MiB;
  Layout layout(plan, {.gpus = {{.device = &device, .options = on_device}}});
  DeviceLayout& gpu = layout.gpu(0);
  Phases phases(layout);
  phases.push("decode");
  (void)gpu.scratch().take(512_KiB);
  (void)gpu.history(1).take(256_KiB);
  gpu.talk(0).advance(3);
  layout.talk(1).advance(5);
  layout.clear_pass();
  layout.clear_talk(1);
  phases.pop();
  const std::vector<PhaseFigures> all = phases.figures();
  ASSERT_EQ(all.at(0).gpus, 1U);
  EXPECT_EQ(all[0].peaks.gpu[0].scratch, 512_KiB);
  EXPECT_EQ(all[0].peaks.gpu[0].history, 256_KiB + 3 * std::size_t{256});
  EXPECT_EQ(all[0].peaks.history, 5 * 256U);
}

TEST_F(PhasesOfALayout, BeyondWhatTheyHoldBelongToTheOneAround) {
  for (std::size_t i = 0; i < kMostPhases; ++i) {
    const PhaseScope one(phases_, "phase " + std::to_string(i));
  }
  phases_.push("phase 3");
  phases_.push("one too many");
  pass(layout_, 1_MiB);
  phases_.pop();
  phases_.pop();
  EXPECT_EQ(phases_.unnamed(), 1U);
  EXPECT_EQ(phases_.figures().size(), kMostPhases);
  EXPECT_EQ(phases_.figures()[3].peaks.scratch, 1_MiB);
  EXPECT_EQ(phases_.figures()[4].peaks.scratch, 0U);

  for (std::size_t i = 0; i < kDeepestPhase + 3; ++i) phases_.push("phase 5");
  EXPECT_EQ(phases_.unnamed(), 1U + 3U);
  pass(layout_, 2_MiB);
  for (std::size_t i = 0; i < kDeepestPhase + 3; ++i) phases_.pop();
  EXPECT_EQ(phases_.figures()[5].peaks.scratch, 2_MiB);
  EXPECT_EQ(phases_.figures()[5].passes, 1U);
}

// Regression: a debug build aborted, and others read beyond the open phases.
TEST_F(PhasesOfALayout, ThatAreNotOpenCannotBeLeft) {
  phases_.pop();
  phases_.push("decode");
  pass(layout_, 1_MiB);
  phases_.pop();
  phases_.pop();
  pass(layout_, 2_MiB);
  phases_.pop();
  EXPECT_EQ(numbers_of(phases_), (NamedNumbers{{"decode", {1, 1, 0, 1_MiB, 0}}}));
  EXPECT_EQ(phases_.unnamed(), 0U);
}

TEST_F(PhasesOfALayout, HaveNamesOfABoundedLength) {
  const std::string longest(kPhaseNameBytes, 'x');
  { const PhaseScope one(phases_, longest + "yz"); }
  { const PhaseScope one(phases_, longest); }
  { const PhaseScope one(phases_, std::string_view("a\0b", 3)); }
  { const PhaseScope one(phases_, "a"); }
  { const PhaseScope one(phases_, ""); }
  EXPECT_EQ(
      numbers_of(phases_),
      (NamedNumbers{{longest, {2, 0, 0, 0, 0}}, {"a", {2, 0, 0, 0, 0}}, {"", {1, 0, 0, 0, 0}}}));
}

// For ThreadSanitizer, and to check that figures never decrease.
TEST_F(PhasesOfALayout, AreReadWhileTheyAreEntered) {
  std::atomic<bool> done = false;
  std::thread reader([&] {
    std::vector<PhaseFigures> last;
    while (!done) {
      const std::vector<PhaseFigures> now = phases_.figures();
      ASSERT_GE(now.size(), last.size());
      for (std::size_t i = 0; i < last.size(); ++i) {
        EXPECT_EQ(now[i].name, last[i].name);
        EXPECT_GE(now[i].times, last[i].times);
        EXPECT_GE(now[i].peaks.scratch, last[i].peaks.scratch);
      }
      EXPECT_LE(layout_.stat().scratch.used, layout_.stat().scratch.reserved);
      last = now;
    }
  });
  std::size_t most = 0;
  for (int i = 0; i < 2000; ++i) {
    const PhaseScope one(phases_, "phase " + std::to_string(i % 8));
    const std::size_t bytes = static_cast<std::size_t>(i % 61 + 1) * 1_KiB;
    most = std::max(most, bytes);
    pass(layout_, bytes);
    EXPECT_EQ(layout_.scratch().peak(), most);
  }
  done = true;
  reader.join();
}

}  // namespace
}  // namespace tapedeck::tests
