// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>

#include "layout/stat_walk.hpp"
#include "os/faults.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

TEST(Snapshot, HasWhatItWasAskedFor) {
  BusyLayout busy;
  const Snapshot bare = snapshot_of(busy.layout, "chat");
  EXPECT_EQ(bare.layout, "chat");
  EXPECT_EQ(bare.stat.text(), busy.layout.stat().text());
  EXPECT_TRUE(bare.talks.empty() && bare.devices.empty() && bare.phases.empty());
  EXPECT_FALSE(bare.process);

  const Snapshot all = busy.snapshot("chat");
  EXPECT_EQ(all.stat.text(), busy.layout.stat().text());
  ASSERT_EQ(all.talks.size(), 2U);
  EXPECT_EQ(all.talks[0].tokens, 3U);
  EXPECT_EQ(all.talks[1].tokens, 0U);
  EXPECT_EQ(all.talks[0].history.used, 3_KiB);
  EXPECT_EQ(all.talks[0].history.committed, busy.layout.talk_stat(0).history.committed);
  ASSERT_EQ(all.devices.size(), 2U);
  EXPECT_EQ(all.devices[1].label, busy.second.label());
  EXPECT_EQ(all.devices[1].memory_total, busy.second.memory().total);
  EXPECT_EQ(all.devices[1].memory_free, busy.second.memory().free);
  DeviceLayout& gpu = busy.layout.gpu(1);
  EXPECT_EQ(
      device_fields().back().of(all.stat.gpu[1]),
      gpu.weights().committed() + gpu.scratch().committed() + all.stat.gpu[1].history.committed);
  ASSERT_EQ(all.phases.size(), 2U);
  EXPECT_EQ(all.phases[1].name, "prefill");
  std::map<std::string, std::uint64_t> figures;
  for (const auto& field : phase_fields()) figures[field.name] = field.of(all.phases[1]);
  EXPECT_EQ(figures, (std::map<std::string, std::uint64_t>{{"entered", 1}, {"passes", 1}}));
  ASSERT_TRUE(all.process);
  EXPECT_GT(all.process->rss_anon, 1_MiB);  // the weights are warm
}

/// Runs passes, talks that grow and end, and takes of odd sizes, some of which do not fit.
void work(Layout& layout, const std::atomic<bool>& stop) {
  for (std::uint64_t pass = 0; !stop; ++pass) {
    layout.talk(pass % 2).prepare(1);
    layout.talk(pass % 2).advance();
    layout.gpu(1).talk(pass % 2).prepare(1);
    layout.gpu(1).talk(pass % 2).advance();
    (void)layout.scratch().try_take(pass % 5000);
    (void)layout.scratch().try_take(pass * 1000 % 2_MiB);
    layout.clear_pass();
    if (pass % 100 == 99) layout.clear_talk(pass / 100 % 2);
  }
}

void expect_whole(const TapeStat& tape) {
  EXPECT_LE(tape.used, tape.peak);
  EXPECT_LE(tape.peak, tape.reserved);
}

void read_whole_figures(const Layout& layout) {
  // From pass 1049 on, takes are larger than scratch.
  for (int i = 0; i < 300 || layout.passes() < 2000; ++i) {
    const Snapshot now = snapshot_of(layout, "chat", {.talks = true, .devices = true});
    internal::for_each_tape(now.stat,
                            [](Place, TapeKind, const TapeStat& tape) { expect_whole(tape); });
    for (const TalkStat& talk : now.talks) expect_whole(talk.history);
  }
}

TEST(Snapshot, HasWholeFiguresWhileAWriterWorks) {
  BusyLayout busy;
  std::atomic<bool> stop{false};
  std::thread writer([&] { work(busy.layout, stop); });
  std::thread reader([&] { read_whole_figures(busy.layout); });
  read_whole_figures(busy.layout);
  reader.join();
  stop = true;
  writer.join();
  EXPECT_GT(busy.layout.stat().scratch.refused, 1U);
}

// As if it were taken for every token.
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
