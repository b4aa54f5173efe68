#include "tapedeck/telemetry/snapshot/snapshot.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>

#include "layout/cache_region.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

TEST(Snapshot, HasTheLayoutsStatAndName) {
  Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB}, {.talks = 2});
  (void)layout.weights().take(3_MiB);
  layout.clear_pass();
  const Snapshot now = snapshot_of(layout, "chat");
  EXPECT_EQ(now.layout, "chat");
  EXPECT_EQ(now.stat.text(), layout.stat().text());
  EXPECT_TRUE(now.talks.empty());
  EXPECT_TRUE(now.devices.empty());
  EXPECT_FALSE(now.process);
  EXPECT_TRUE(now.phases.empty());
}

TEST(Snapshot, HasEachTalkOnRequest) {
  Plan plan;
  plan.talks = 3;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 64, 1024));
  Layout layout(plan, {.commit = Commit::with_talks, .growth_step = 1});
  for (std::size_t talk = 0; talk < 3; ++talk) {
    layout.talk(talk).prepare(10 * (talk + 1));
    layout.talk(talk).advance(talk + 1);
  }
  const Snapshot now = snapshot_of(layout, "chat", {.talks = true});
  ASSERT_EQ(now.talks.size(), 3U);
  for (std::size_t talk = 0; talk < 3; ++talk) {
    EXPECT_EQ(now.talks[talk].tokens, talk + 1);
    EXPECT_EQ(now.talks[talk].history.committed, round_up(10_KiB * (talk + 1), 4_KiB));
  }
  EXPECT_EQ(now.stat.tokens, 6U);
}

TEST(Snapshot, HasMemoryOfTheDevicesOnRequest) {
  Plan plan;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 1024, 1024));
  HostDevice device({.memory = 64_MiB});
  Layout layout(plan, {.gpus = {{.device = &device}}});
  const Snapshot now = snapshot_of(layout, "chat", {.devices = true});
  ASSERT_EQ(now.devices.size(), 1U);
  EXPECT_EQ(now.devices[0].label, device.label());
  EXPECT_EQ(now.devices[0].memory_total, device.memory().total);
  EXPECT_EQ(now.devices[0].memory_free, device.memory().free);
  EXPECT_EQ(device_fields().back().of(now.stat.gpu[0]), layout.gpu(0).history().committed());
}

TEST(Snapshot, HasPhasesOnRequest) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  Phases phases(layout);
  for (int turn = 0; turn < 2; ++turn) {
    const PhaseScope decode(phases, "decode");
    for (int pass = 0; pass < 3; ++pass) layout.clear_pass();
  }
  const Snapshot now = snapshot_of(layout, "chat", {.phases = &phases});
  ASSERT_EQ(now.phases.size(), 1U);
  EXPECT_EQ(now.phases[0].name, "decode");
  std::map<std::string, std::uint64_t> figures;
  for (const auto& field : phase_fields()) figures[field.name] = field.of(now.phases[0]);
  EXPECT_EQ(figures, (std::map<std::string, std::uint64_t>{{"entered", 2}, {"passes", 6}}));
}

TEST(Snapshot, HasFiguresOfTheProcessOnRequest) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const Snapshot now = snapshot_of(layout, "chat", {.process = ProcessOptions()});
  ASSERT_TRUE(now.process);
  EXPECT_GT(now.process->rss_anon, 1_MiB);  // weights are warm
}

// Where it is taken for every token.
TEST(Snapshot, MakesNoSystemCallUnlessAskedTo) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const os::InjectFault count(0, 0);
  const Phases phases(layout);
  (void)snapshot_of(layout, "chat", {.talks = true, .phases = &phases});
  EXPECT_EQ(os::InjectFault::calls(), 0U);
  (void)snapshot_of(layout, "chat", {.process = ProcessOptions()});
  EXPECT_GT(os::InjectFault::calls(), 5U);
}

}  // namespace
}  // namespace tapedeck::tests
