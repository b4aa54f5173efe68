#include "tapedeck/telemetry/recording/phases.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"
#include "telemetry/sizes.hpp"

namespace tapedeck::tests {
namespace {

void pass(Layout& layout, std::size_t scratch, std::size_t history = 0) {
  (void)layout.scratch().take(scratch);
  (void)layout.history().take(history);
  layout.clear_pass();
}

TEST(Phases, HavePeaksOfTheirOwn) {
  Layout layout(kSizes);
  Phases phases(layout);
  {
    const PhaseScope load(phases, "load");
    (void)layout.weights().take(3_MiB);
  }
  pass(layout, 3_MiB);  // in no phase
  for (int turn = 0; turn < 2; ++turn) {
    const PhaseScope prefill(phases, "prefill");
    pass(layout, 2_MiB, 1_MiB);
  }
  {
    const PhaseScope decode(phases, "decode");
    EXPECT_EQ(phases.current(), "decode");
    for (int token = 0; token < 3; ++token) pass(layout, 64_KiB, 1_KiB);
  }
  EXPECT_EQ(phases.current(), "");
  const std::vector<PhaseFigures> all = phases.figures();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].name, "load");
  EXPECT_EQ(all[0].host.weights, 3_MiB);
  EXPECT_EQ(all[0].host.scratch, 0U);
  EXPECT_EQ(all[0].passes, 0U);
  EXPECT_EQ(all[1].name, "prefill");
  EXPECT_EQ(all[1].times, 2U);
  EXPECT_EQ(all[1].passes, 2U);
  EXPECT_EQ(all[1].host.weights, 3_MiB);
  EXPECT_EQ(all[1].host.scratch, 2_MiB);
  EXPECT_EQ(all[1].host.history, 2_MiB);
  EXPECT_EQ(all[2].host.scratch, 64_KiB);
  EXPECT_EQ(all[2].host.history, 2_MiB + 3_KiB);
  EXPECT_EQ(all[2].passes, 3U);
  EXPECT_EQ(layout.scratch().peak(), 3_MiB);
  EXPECT_EQ(layout.stat().scratch.peak, 3_MiB);
  EXPECT_EQ(phases.unnamed(), 0U);
}

TEST(Phases, CountInThoseAroundThem) {
  Layout layout(kSizes);
  Phases phases(layout);
  phases.push("talk");
  pass(layout, 1_MiB);
  phases.push("prefill");
  pass(layout, 3_MiB);
  phases.pop();
  phases.push("decode");
  phases.push("decode");  // inside itself: nothing counts twice
  pass(layout, 2_MiB);
  phases.pop();
  phases.pop();
  phases.pop();
  const std::vector<PhaseFigures> all = phases.figures();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].host.scratch, 3_MiB);
  EXPECT_EQ(all[0].passes, 3U);
  EXPECT_EQ(all[1].host.scratch, 3_MiB);
  EXPECT_EQ(all[1].passes, 1U);
  EXPECT_EQ(all[2].host.scratch, 2_MiB);
  EXPECT_EQ(all[2].passes, 1U);
  EXPECT_EQ(all[2].times, 2U);
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
  ASSERT_EQ(all.at(0).gpu.size(), 1U);
  EXPECT_EQ(all[0].gpu[0].scratch, 512_KiB);
  EXPECT_EQ(all[0].gpu[0].history, 256_KiB + 3 * std::size_t{256});
  EXPECT_EQ(all[0].host.history, 5 * 256U);
}

TEST(Phases, BeyondWhatTheyHoldBelongToTheOneAround) {
  Layout layout(kSizes);
  Phases phases(layout);
  for (std::size_t i = 0; i < kMostPhases; ++i) {
    const PhaseScope one(phases, "phase " + std::to_string(i));
  }
  phases.push("phase 3");
  phases.push("one too many");
  EXPECT_EQ(phases.current(), "phase 3");
  pass(layout, 1_MiB);
  phases.pop();
  phases.pop();
  EXPECT_EQ(phases.unnamed(), 1U);
  EXPECT_EQ(phases.figures().size(), kMostPhases);
  EXPECT_EQ(phases.figures()[3].host.scratch, 1_MiB);
  EXPECT_EQ(phases.figures()[4].host.scratch, 0U);

  for (std::size_t i = 0; i < kDeepestPhase + 3; ++i) phases.push("phase 5");
  EXPECT_EQ(phases.unnamed(), 1U + 3U);
  pass(layout, 2_MiB);
  for (std::size_t i = 0; i < kDeepestPhase + 3; ++i) phases.pop();
  EXPECT_EQ(phases.current(), "");
  EXPECT_EQ(phases.figures()[5].host.scratch, 2_MiB);
  EXPECT_EQ(phases.figures()[5].passes, 1U);
}

TEST(Phases, HaveNamesOfABoundedLength) {
  Layout layout(kSizes);
  Phases phases(layout);
  const std::string longest(kPhaseNameBytes, 'x');
  { const PhaseScope one(phases, longest + "yz"); }
  { const PhaseScope one(phases, longest); }
  { const PhaseScope one(phases, std::string_view("a\0b", 3)); }
  { const PhaseScope one(phases, "a"); }
  { const PhaseScope one(phases, ""); }
  const std::vector<PhaseFigures> all = phases.figures();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].name, longest);
  EXPECT_EQ(all[0].times, 2U);
  EXPECT_EQ(all[1].name, "a");
  EXPECT_EQ(all[1].times, 2U);
  EXPECT_EQ(all[2].name, "");
}

// For ThreadSanitizer, and for figures that never go down.
TEST(Phases, AreReadWhileTheyAreEntered) {
  Layout layout(kSizes);
  Phases phases(layout);
  std::atomic<bool> done = false;
  std::thread reader([&] {
    std::vector<PhaseFigures> last;
    while (!done) {
      const std::vector<PhaseFigures> now = phases.figures();
      ASSERT_GE(now.size(), last.size());
      for (std::size_t i = 0; i < last.size(); ++i) {
        EXPECT_EQ(now[i].name, last[i].name);
        EXPECT_GE(now[i].times, last[i].times);
        EXPECT_GE(now[i].host.scratch, last[i].host.scratch);
      }
      EXPECT_LE(layout.stat().scratch.used, layout.stat().scratch.reserved);
      last = now;
    }
  });
  std::size_t most = 0;
  for (int i = 0; i < 2000; ++i) {
    const PhaseScope one(phases, "phase " + std::to_string(i % 8));
    const std::size_t bytes = static_cast<std::size_t>(i % 61 + 1) * 1_KiB;
    most = std::max(most, bytes);
    pass(layout, bytes);
    EXPECT_EQ(layout.scratch().peak(), most);
  }
  done = true;
  reader.join();
}

}  // namespace
}  // namespace tapedeck::tests
