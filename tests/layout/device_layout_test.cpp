// SPDX-License-Identifier: Apache-2.0
// The tapes of a plan on a device: exactly the plan's regions, and talks that grow from one pool.

#include "tapedeck/layout/device_layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "device/held_stream.hpp"
#include "layout/side_plan.hpp"
#include "os/fault_sweep.hpp"
#include "os/when_asleep.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/device/pinned_tape.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {
namespace {

class DeviceLayoutTest : public ::testing::Test {
 protected:
  HostDevice device_{{.memory = 256_MiB, .granularity = kDevicePage}};
};

TEST_F(DeviceLayoutTest, PagesGoOnlyWhenTheDeviceIsDoneWithThem) {
  DeviceLayout gpu(device_, side_plan(2), {.commit = Commit::with_talks, .growth_step = 64});
  const DeviceStream stream(device_);
  DeviceEvent done(device_);
  const auto use_keys = [&](std::size_t talk) {
    device_.fill(gpu.history(talk).data(), std::byte{1}, kSideRow, stream.handle());
    done.record(stream.handle());
  };
  gpu.talk(0).prepare(1024);
  {
    const StreamHeldUntilWaitedFor held(stream.handle());
    use_keys(0);
    gpu.clear_talk(0);
    gpu.talk(1).prepare(1024);  // takes pages of the first talk
    EXPECT_TRUE(done.fired());
  }
  const StreamHeldUntilWaitedFor held(stream.handle());
  use_keys(1);
  EXPECT_GT(gpu.decommit(done.handle()), 0U);
  EXPECT_TRUE(done.fired());
}

TEST_F(DeviceLayoutTest, PagesOfATalkWithAStreamWaitForThisStreamOnly) {
  DeviceLayout gpu(device_, side_plan(3), {.commit = Commit::with_talks, .growth_step = 64});
  const DeviceStream own(device_);
  const DeviceStream other(device_);
  DeviceEvent done(device_);
  gpu.talk(0).set_stream(own.handle());
  gpu.talk(0).prepare(1024);
  const HeldStream never_waited_for(other.handle());
  const StreamHeldUntilWaitedFor held(own.handle());
  device_.fill(gpu.history(0).data(), std::byte{1}, kSideRow, own.handle());
  done.record(own.handle());
  gpu.clear_talk(0);
  gpu.talk(1).prepare(1024);
  EXPECT_TRUE(done.fired());
  EXPECT_EQ(gpu.history(0).committed(), kSideState);
}

TEST_F(DeviceLayoutTest, FramesGoRound) {
  DeviceLayout gpu(device_, side_plan(), {.frames = 3});
  const DeviceStream stream(device_);
  std::array<DeviceEvent, 3> done = {DeviceEvent(device_), DeviceEvent(device_),
                                     DeviceEvent(device_)};
  std::vector<const std::byte*> places;
  for (std::size_t pass = 0; pass < 9; ++pass) {
    EXPECT_EQ(gpu.frames().index(), pass % 3);
    places.push_back(gpu.scratch_at(gpu.plan().scratch.regions()[0]).data());
    DeviceEvent& event = done[gpu.frames().index()];
    event.record(stream.handle());
    gpu.clear_pass(event.handle());
  }
  EXPECT_EQ(std::set<const std::byte*>(places.begin(), places.end()).size(), 3U);
  EXPECT_EQ(places[0], places[3]);
}

TEST_F(DeviceLayoutTest, AFrameOpensWhenItsOwnEventHasFiredAndNoOther) {
  DeviceLayout gpu(device_, side_plan(), {.frames = 2});
  const DeviceStream slow(device_);
  DeviceEvent first(device_);
  DeviceEvent second(device_);
  std::optional<HeldStream> held(std::in_place, slow.handle());
  first.record(slow.handle());
  gpu.clear_pass(first.handle());  // the other frame was never closed
  EXPECT_FALSE(first.fired());
  const WhenAsleep release([&] { held.reset(); });
  gpu.clear_pass(second.handle());
  EXPECT_TRUE(first.fired());
}

// --- In a Layout --------------------------------------------------------------------------------

TEST(LayoutWithGpus, BothSidesHaveOneLifecycle) {
  HostDevice first({.granularity = kDevicePage});
  HostDevice second({.granularity = kDevicePage, .ordinal = 1});
  Plan half = side_plan(2);
  half.weights = TapePlan(TapeKind::weights);
  LayoutOptions options{.gpus = {{.device = &first}, {.device = &second, .plan = half}}};
  Layout layout(side_plan(2), options);
  ASSERT_EQ(layout.gpus(), 2U);
  EXPECT_EQ(&layout.gpu(1).device(), &second);
  EXPECT_EQ(layout.gpu(0).weights().used(), round_up(layout.plan().weights.bytes(), kDeviceLine));
  EXPECT_EQ(layout.gpu(1).weights().total(), 0U);
  layout.gpu(0).talk(1).prepare(5);
  static_cast<void>(layout.gpu(0).talk(1).advance(5));
  Stat stat = layout.stat();
  EXPECT_EQ(stat.gpus, 2U);
  EXPECT_EQ(stat.gpu[0].tokens, 5U);
  EXPECT_EQ(stat.gpu[1].tokens, 0U);
  layout.clear_pass();
  layout.clear_talk(1);
  stat = layout.stat();
  EXPECT_EQ(stat.gpu[0].tokens, 0U);
  EXPECT_EQ(stat.gpu[0].longest_talk, 5U);
  EXPECT_EQ(stat.gpu[1].longest_talk, 0U);
  EXPECT_EQ(stat.gpu[0].scratch.clears, 2U);
  EXPECT_EQ(stat.gpu[1].history.clears, 1U);
  // One conversation, though only a device knew its tokens.
  EXPECT_EQ(stat.conversations, 1U);
  EXPECT_EQ(stat.gpu[0].conversations, 1U);
  EXPECT_EQ(stat.gpu[1].conversations, 0U);
  layout.clear_talk(1);
  EXPECT_EQ(layout.stat().conversations, 1U);
  EXPECT_EQ(layout.total(), layout.weights().total() + layout.scratch().total() +
                                layout.history(0).total() + layout.history(1).total() +
                                layout.gpu(0).total() + layout.gpu(1).total());
}

TEST(LayoutWithGpus, NonsenseIsRefused) {
  HostDevice device({.granularity = kDevicePage});
  const std::vector<LayoutGpu> too_many(kMostGpus + 1, {.device = &device});
  const std::vector<std::pair<std::vector<LayoutGpu>, std::string>> rows = {
      {{{.device = nullptr}}, "LayoutGpu::device"},
      {{{.device = &device, .plan = side_plan(1)}}, "LayoutGpu::plan"},
      {{{.device = &device, .options = {.frames = 0}}}, "DeviceLayoutOptions::frames"},
      {{{.device = &device, .options = {.page_bytes = 3 * kDevicePage}}}, "page_bytes"},
      {too_many, "LayoutOptions::gpus"}};
  for (const auto& row : rows) {
    const auto refused =
        thrown<InvalidArgument>([&] { const Layout layout(side_plan(2), {.gpus = row.first}); });
    EXPECT_EQ(refused.argument(), row.second);
  }
  const Layout without(side_plan(2));
  const Layout with(side_plan(2), {.gpus = {{.device = &device}}});
  const auto no_gpu = [](const Layout& layout, std::size_t i) {
    return thrown<InvalidArgument>([&] { (void)layout.gpu(i); }).limit();
  };
  EXPECT_EQ(no_gpu(without, 0), std::nullopt);
  EXPECT_EQ(no_gpu(with, 1), 0U);
}

// A device with growing histories gives them new offsets, so the offsets of the host's plan are not
// valid.
TEST(LayoutWithGpus, ADeviceThatAlignsAnewRefusesRegionsOfTheHost) {
  HostDevice device({.granularity = kDevicePage});
  Layout layout(side_plan(),
                {.gpus = {{.device = &device, .options = {.commit = Commit::with_talks}}}});
  DeviceLayout& gpu = layout.gpu(0);
  for (std::size_t i = 0; i < layout.plan().history.regions().size(); ++i) {
    const Region& own = gpu.plan().history.regions()[i];
    EXPECT_EQ(gpu.history_at(own).data(), gpu.history().data() + own.offset);
    const auto refused =
        thrown<InvalidArgument>([&] { (void)gpu.history_at(layout.plan().history.regions()[i]); });
    EXPECT_EQ(refused.argument(), "region");
  }
  const Region& weight = layout.plan().weights.regions()[1];
  EXPECT_EQ(gpu.weights_at(weight).data(), gpu.weights().data() + weight.offset);
}

// Nothing is left behind, whatever the kernel refuses, and wherever the device is full.
TEST(LayoutWithGpus, CreationRollsBackCompletely) {
  HostDevice device({.memory = 256_MiB, .granularity = kDevicePage});
  const auto live = [&]() -> Complaints {
    DeviceLayout gpu(device, side_plan(2), {.commit = Commit::with_talks});
    gpu.talk(1).prepare(300);
    EXPECT_LT(device.memory().free, 256_MiB);
    return {};
  };
  // Failures while something is released cannot be reported.
  const std::uint64_t calls =
      sweep({.run = live, .silent = {"munmap", "fallocate", "mmap"}}, ENOMEM);
  EXPECT_GT(calls, 20U);
  EXPECT_EQ(device.memory().free, 256_MiB);
  for (std::size_t room = 0; room < 200 * kDevicePage; room += kDevicePage) {
    HostDevice small({.memory = std::max<std::size_t>(room, 1), .granularity = kDevicePage});
    try {
      DeviceLayout gpu(small, side_plan(3));
      EXPECT_GT(room, side_plan(3).history.bytes() * 3);
    } catch (const DeviceOutOfMemory&) {
    }
    EXPECT_EQ(small.memory().free, std::max<std::size_t>(room, 1));
  }
}

TEST(PinnedTape, IsATapeAndKeepsTheHooksOfItsCaller) {
  HostDevice device;
  std::size_t bytes = 0;
  {
    Tape tape = start_pinned(
        device, 1_MiB,
        {.name = "staging",
         .block = {.on_commit = [&](std::span<std::byte> range) { bytes += range.size(); },
                   .on_decommit = [&](std::span<std::byte> range) { bytes -= range.size(); }}});
    EXPECT_EQ(bytes, 1_MiB);
    EXPECT_EQ(tape.name(), "staging");
    tape.take<float>(100)[99] = 1;
  }
  EXPECT_EQ(bytes, 0U);
  EXPECT_THROW((void)start_pinned(device, 1_MiB, {.commit_step = 4096}), InvalidArgument);
}

}  // namespace
}  // namespace tapedeck::tests
