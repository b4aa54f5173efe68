// The tapes of a plan on a device: exactly the plan's regions, talks that grow from one pool.

#include "tapedeck/layout/device_layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "device/held_stream.hpp"
#include "layout/cache_region.hpp"
#include "memory/pattern.hpp"
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

using ::testing::HasSubstr;

constexpr std::uint64_t kContext = 4096;
constexpr std::uint64_t kRow = 512;  // bytes of K of one token

Plan small_plan(std::uint64_t talks = 1) {
  Plan plan;
  plan.talks = talks;
  plan.context_per_talk = kContext;
  plan.weights.append({.name = "embedding", .bytes = 1000});
  plan.weights.append({.name = "head", .bytes = 8192, .alignment = 4096});
  plan.scratch.place({.name = "decode.logits", .role = RegionRole::decode, .bytes = 4096});
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, kContext, kRow));
  plan.history.append(cache_region("layers.0.v", RegionRole::kv, kContext, kRow));
  plan.history.append(cache_region("layers.1.k", RegionRole::window, 256, kRow));
  plan.history.append(
      {.name = "layers.2.state", .role = RegionRole::recurrent, .bytes = 100, .alignment = 4096});
  return plan;
}

class DeviceLayoutTest : public ::testing::TestWithParam<Commit> {
 protected:
  HostDevice device_{{.memory = 256_MiB, .granularity = kDevicePage}};
};
INSTANTIATE_TEST_SUITE_P(Commits, DeviceLayoutTest,
                         ::testing::Values(Commit::at_creation, Commit::with_talks,
                                           Commit::nothing));

TEST_P(DeviceLayoutTest, EverythingGoesBack) {
  {
    DeviceLayout gpu(device_, small_plan(3), {.commit = GetParam(), .frames = 2});
    for (std::size_t talk = 0; talk < 3; ++talk) gpu.talk(talk).prepare(1000);
    EXPECT_LT(device_.memory().free, 256_MiB);
  }
  EXPECT_EQ(device_.memory().free, 256_MiB);
}

class GrowingLayout : public ::testing::Test {
 protected:
  DeviceLayout make(std::uint64_t talks) {
    return {device_, small_plan(talks), {.commit = Commit::with_talks, .growth_step = 64}};
  }
  DeviceSpan<std::byte> keys(DeviceLayout& gpu, std::size_t talk = 0) {
    return gpu.history_at(gpu.plan().history.regions()[0], talk);
  }
  HostDevice device_{{.memory = 256_MiB, .granularity = kDevicePage}};
};

TEST_F(GrowingLayout, AClearedTalksPagesServeTheNextOne) {
  DeviceLayout gpu = make(3);
  gpu.talk(0).prepare(1024);
  static_cast<void>(gpu.talk(0).advance(1024));
  const std::uint64_t held = gpu.stat().pool_held;
  gpu.talk(1).prepare(64);
  EXPECT_GT(gpu.stat().pool_held, held);  // the first talk still has its pages
  gpu.clear_talk(0);
  const std::uint64_t both = gpu.stat().pool_held;
  gpu.talk(2).prepare(1024);
  EXPECT_EQ(gpu.stat().pool_held, both);
  EXPECT_EQ(gpu.history(0).committed(), 100U);  // its state, which is fixed
  gpu.talk(0).prepare(1);
  EXPECT_GT(gpu.stat().pool_held, both);
}

TEST_F(GrowingLayout, ASealedLayoutRefusesToGrow) {
  DeviceLayout gpu = make(1);
  gpu.talk(0).prepare(128);
  gpu.seal();
  gpu.talk(0).prepare(128);
  EXPECT_EQ(gpu.talk(0).advance(128), 0U);
  EXPECT_THROW(gpu.talk(0).prepare(1), WrongState);
  EXPECT_THROW((void)gpu.decommit(), WrongState);
}

TEST_F(GrowingLayout, TrimGivesBackWhatTalksDoNotHold) {
  DeviceLayout gpu = make(2);
  const std::size_t before = device_.memory().free;
  gpu.talk(0).prepare(1024);
  gpu.talk(1).prepare(1024);
  static_cast<void>(gpu.talk(1).advance(10));
  gpu.clear_talk(0);
  const DeviceStream stream(device_);
  DeviceEvent read(device_);
  read.record(stream.handle());
  const std::size_t given_back = gpu.decommit(read.handle());
  EXPECT_EQ(gpu.stat().pool_free, 0U);
  EXPECT_EQ(device_.memory().free, before - 3 * kDevicePage);  // ten tokens of K, V and the window
  EXPECT_GT(given_back, 0U);
  EXPECT_THROW((void)gpu.talk(1).advance(), NotPrepared);
  gpu.talk(1).prepare(100);
  EXPECT_EQ(gpu.talk(1).advance(100), 10U);
}

TEST_F(GrowingLayout, PagesGoOnlyWhenTheDeviceIsDoneWithThem) {
  DeviceLayout gpu = make(2);
  const DeviceStream stream(device_);
  DeviceEvent done(device_);
  const auto use_keys = [&](std::size_t talk) {
    device_.fill(keys(gpu, talk).data(), std::byte{1}, kRow, stream.handle());
    done.record(stream.handle());
  };
  gpu.talk(0).prepare(1024);
  {
    const StreamHeldUntilWaitedFor held(stream.handle());
    use_keys(0);
    gpu.clear_talk(0);
    gpu.talk(1).prepare(1024);  // takes them from the first talk
    EXPECT_TRUE(done.fired());
  }
  const StreamHeldUntilWaitedFor held(stream.handle());
  use_keys(1);
  EXPECT_GT(gpu.decommit(done.handle()), 0U);
  EXPECT_TRUE(done.fired());
}

TEST_F(GrowingLayout, ADeviceThatIsFullLeavesTheTalkAsItWas) {
  HostDevice small({.memory = 24 * kDevicePage, .granularity = kDevicePage});
  DeviceLayout gpu(small, small_plan(1), {.commit = Commit::with_talks, .growth_step = 1});
  gpu.talk(0).prepare(128);
  const std::size_t committed = gpu.history().committed();
  const auto error = thrown<DeviceOutOfMemory>([&] { gpu.talk(0).prepare(kContext); });
  EXPECT_EQ(gpu.history().committed(), committed);
  EXPECT_EQ(gpu.talk(0).advance(128), 0U);
  EXPECT_THROW((void)gpu.talk(0).advance(), NotPrepared);
  gpu.talk(0).prepare(128);
}

TEST_F(GrowingLayout, FramesGoRound) {
  DeviceLayout gpu(device_, small_plan(), {.frames = 3});
  const DeviceStream stream(device_);
  std::vector<DeviceEvent> done;
  done.reserve(3);
  for (int i = 0; i < 3; ++i) done.emplace_back(device_);
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

TEST_F(GrowingLayout, AFrameOpensWhenItsOwnEventHasFiredAndNoOther) {
  DeviceLayout gpu(device_, small_plan(), {.frames = 2});
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
  Plan half = small_plan(2);
  half.weights = TapePlan(TapeKind::weights);
  LayoutOptions options{.gpus = {{.device = &first}, {.device = &second, .plan = half}}};
  Layout layout(small_plan(2), options);
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
  EXPECT_THAT(stat.text(), HasSubstr("gpu1 history: used"));
  layout.clear_pass();
  layout.clear_talk(1);
  stat = layout.stat();
  EXPECT_EQ(stat.gpu[0].tokens, 0U);
  EXPECT_EQ(stat.gpu[0].longest_talk, 5U);
  EXPECT_EQ(stat.gpu[1].longest_talk, 0U);
  EXPECT_EQ(stat.gpu[0].scratch.clears, 2U);
  EXPECT_EQ(stat.gpu[1].history.clears, 1U);
  EXPECT_EQ(layout.total(), layout.weights().total() + layout.scratch().total() +
                                layout.history(0).total() + layout.history(1).total() +
                                layout.gpu(0).total() + layout.gpu(1).total());
}

TEST(LayoutWithGpus, NonsenseIsRefused) {
  HostDevice device({.granularity = kDevicePage});
  const auto make = [&](const Plan& plan, std::vector<LayoutGpu> gpus) {
    const Layout layout(plan, LayoutOptions{.gpus = std::move(gpus)});
  };
  EXPECT_THROW(make(small_plan(), {{.device = nullptr}}), InvalidArgument);
  EXPECT_THROW(make(small_plan(2), {{.device = &device, .plan = small_plan(1)}}), InvalidArgument);
  EXPECT_THROW(make(small_plan(), {{.device = &device, .options = {.frames = 0}}}),
               InvalidArgument);
  EXPECT_THROW(make(small_plan(), std::vector<LayoutGpu>(kMostGpus + 1, {.device = &device})),
               InvalidArgument);
  Plan strict = small_plan();
  strict.scratch.append({.name = "strict", .bytes = 100, .alignment = 2 * kDevicePage});
  EXPECT_THROW(DeviceLayout(device, strict), InvalidArgument);
  EXPECT_THROW(Layout({.weights = 1, .scratch = 1, .history = 1},
                      LayoutOptions{.gpus = {{.device = &device}}}),
               InvalidArgument);
}

// Whatever the kernel refuses on the way, and wherever the device is full: nothing is left.
TEST(LayoutWithGpus, CreationRollsBackCompletely) {
  HostDevice device({.memory = 256_MiB, .granularity = kDevicePage});
  const auto live = [&]() -> Complaints {
    DeviceLayout gpu(device, small_plan(2), {.commit = Commit::with_talks});
    gpu.talk(1).prepare(300);
    EXPECT_LT(device.memory().free, 256_MiB);
    return {};
  };
  // Nobody can be told of what fails while it is given back.
  const std::uint64_t calls =
      sweep({.run = live, .silent = {"munmap", "fallocate", "mmap"}}, ENOMEM);
  EXPECT_GT(calls, 20U);
  EXPECT_EQ(device.memory().free, 256_MiB);
  for (std::size_t room = 0; room < 200 * kDevicePage; room += kDevicePage) {
    HostDevice small({.memory = std::max<std::size_t>(room, 1), .granularity = kDevicePage});
    try {
      DeviceLayout gpu(small, small_plan(3));
      EXPECT_GT(room, small_plan(3).history.bytes() * 3);
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
