// SPDX-License-Identifier: Apache-2.0
// A thread of the layout grows talks ahead while passes run.

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "device/held_stream.hpp"
#include "layout/cache_region.hpp"
#include "layout/layout_thread.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/device_layout.hpp"

namespace tapedeck::tests {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kGrowthRow = 1024;  // for K, and for V
constexpr std::uint64_t kPageTokens = kDevicePage / kGrowthRow;
constexpr std::uint64_t kGrowthContext = 2048;
constexpr std::uint64_t kAhead = 256;

Plan plan_of(std::uint64_t talks) { return keys_and_values(talks, kGrowthContext, kGrowthRow); }

DeviceLayoutOptions ahead(std::uint64_t tokens, DeviceBlockOptions hooks = {}) {
  return {.commit = Commit::with_talks,
          .growth_step = kPageTokens,
          .ahead = tokens,
          .block = std::move(hooks)};
}

bool becomes_true(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + 300s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

std::uint64_t room(DeviceLayout& gpu, std::size_t talk = 0) {
  return gpu.history(talk).committed() / (2 * kGrowthRow) - gpu.talk(talk).tokens();
}

class GrowingAhead : public ::testing::Test {
 protected:
  ~GrowingAhead() override { EXPECT_EQ(device_.memory().free, device_.memory().total); }
  HostDevice device_{{.memory = 64_MiB, .granularity = kDevicePage}};
};

TEST_F(GrowingAhead, MapsOnItsOwnThreadWhatPrepareWouldHaveMapped) {
  std::mutex mutex;
  std::vector<std::thread::id> mappers;
  const DeviceBlockOptions hooks = {.on_commit = [&](std::span<std::byte>) {
    const std::lock_guard lock(mutex);
    mappers.push_back(std::this_thread::get_id());
  }};
  {
    DeviceLayout gpu(device_, plan_of(1), ahead(kAhead, hooks));
    for (std::uint64_t token = 0; token < kGrowthContext; ++token) {
      gpu.talk(0).prepare(1);
      const std::uint64_t wanted = std::min(kAhead, kGrowthContext - token);
      ASSERT_TRUE(becomes_true([&] { return room(gpu) >= wanted; })) << token;
      ASSERT_EQ(gpu.talk(0).advance(), token);
    }
  }
  const auto here = std::count(mappers.begin(), mappers.end(), std::this_thread::get_id());
  EXPECT_EQ(here, 2);  // the first pages of K and of V
  EXPECT_GT(mappers.size(), 2U);
}

TEST_F(GrowingAhead, ATalkThatDoesNotGoOnIsNotGrown) {
  DeviceLayout gpu(device_, plan_of(2), ahead(kAhead));
  gpu.talk(0).prepare(1);
  ASSERT_TRUE(becomes_true([&] { return room(gpu) >= kAhead; }));
  EXPECT_EQ(gpu.history(1).committed(), 0U);
  EXPECT_LE(room(gpu), kAhead + kPageTokens);
}

TEST_F(GrowingAhead, EndsInAForkedChild) {
  auto gpu = std::make_unique<DeviceLayout>(device_, plan_of(1), ahead(kAhead));
  gpu->talk(0).prepare(1);
  ASSERT_TRUE(becomes_true([&] { return room(*gpu) >= kAhead; }));
  in_child([&] { gpu.reset(); });
  gpu->talk(0).prepare(kAhead);
}

TEST_F(GrowingAhead, EndsWithTheLayoutWhateverItDoes) {
  for (int i = 0; i < 200; ++i) {
    DeviceLayout gpu(device_, plan_of(3), ahead(kGrowthContext));
    for (std::size_t talk = 0; talk < 3; ++talk) gpu.talk(talk).prepare(1);
  }
}

TEST_F(GrowingAhead, ASealedLayoutGrowsNoMore) {
  for (int i = 0; i < 200; ++i) {
    DeviceLayout gpu(device_, plan_of(1), ahead(kGrowthContext));
    gpu.talk(0).prepare(1);
    gpu.seal();
    const std::size_t committed = gpu.history().committed();
    std::this_thread::yield();
    ASSERT_EQ(gpu.history().committed(), committed);
    if (room(gpu) == kGrowthContext) continue;
    ASSERT_THROW(gpu.talk(0).prepare(kGrowthContext), WrongState);
  }
}

/// Reports whether any thread waits for all of its streams.
class WatchedDevice : public HostDevice {
 public:
  using HostDevice::HostDevice;
  using HostDevice::synchronize;
  void synchronize() override {
    ++waiting;
    HostDevice::synchronize();
    --waiting;
  }
  std::atomic<int> waiting = 0;
};

// The lock is free while the thread waits for the device to finish with the pages of a cleared
// talk.
TEST(GrowingAheadOfASeal, StopsThoughTheThreadWasWaiting) {
  WatchedDevice device({.memory = 64_MiB, .granularity = kDevicePage});
  std::atomic<int> commits = 0;
  int commits_before_seal = 0;
  {
    const DeviceBlockOptions hooks = {.on_commit = [&](std::span<std::byte>) { ++commits; }};
    DeviceLayout gpu(device, plan_of(2), ahead(kAhead, hooks));
    const DeviceStream stream(device);
    gpu.talk(0).prepare(kGrowthContext);
    gpu.talk(1).prepare(1);
    ASSERT_TRUE(becomes_true([&] { return room(gpu, 1) >= kAhead; }));
    static_cast<void>(gpu.talk(1).advance(kAhead));
    gpu.clear_talk(0);
    const HeldStream held(stream.handle());
    device.fill(gpu.history(0).data(), std::byte{1}, kGrowthRow, stream.handle());
    gpu.talk(1).prepare(0);  // has room, and asks the thread for more
    ASSERT_TRUE(becomes_true([&] { return device.waiting == 1; }));
    commits_before_seal = commits;
    gpu.seal();
  }  // the thread ends with the layout, after it has finished
  EXPECT_EQ(commits, commits_before_seal);
}

TEST_F(GrowingAhead, AFullDeviceIsReportedByThePrepareThatNeedsIt) {
  HostDevice small({.memory = 6 * kDevicePage, .granularity = kDevicePage});
  DeviceLayout gpu(small, plan_of(1), ahead(kGrowthContext));
  gpu.talk(0).prepare(kPageTokens);
  EXPECT_EQ(gpu.talk(0).advance(kPageTokens), 0U);
  Pattern(1).write(gpu.history_at(gpu.plan().history.regions()[0]).data(), kDevicePage);
  for (std::uint64_t token = 0; token < 2 * kPageTokens; ++token) {
    gpu.talk(0).prepare(1);
    static_cast<void>(gpu.talk(0).advance());
  }
  const auto error = thrown<DeviceOutOfMemory>([&] { gpu.talk(0).prepare(1); });
  EXPECT_EQ(gpu.talk(0).tokens(), 3 * kPageTokens);
  EXPECT_TRUE(
      Pattern(1).is_at(gpu.history_at(gpu.plan().history.regions()[0]).data(), kDevicePage));
}

TEST_F(GrowingAhead, AHookThatThrowsIsReportedByThePrepareThatNeedsIt) {
  struct Refused {};
  const auto here = std::this_thread::get_id();
  std::size_t refused = 0;
  const DeviceBlockOptions hooks = {.on_commit = [&](std::span<std::byte> range) {
    if (std::this_thread::get_id() != here || range.size() > kDevicePage) {
      ++refused;
      throw Refused();
    }
  }};
  DeviceLayout gpu(device_, plan_of(1), ahead(kAhead, hooks));
  gpu.talk(0).prepare(1);
  EXPECT_THROW(gpu.talk(0).prepare(kGrowthContext), Refused);
  gpu.seal();  // the thread does nothing from here on
  EXPECT_GE(refused, 1U);
  EXPECT_EQ(room(gpu), kPageTokens);
}

// Each token's row identifies the talk that it belongs to.
class WrittenTalk {
 public:
  WrittenTalk(DeviceLayout& gpu, std::size_t talk) : gpu_(gpu), talk_(talk) {
    for (const Region& region : gpu.plan().history.regions()) {
      places_.push_back(gpu.history_at(region, talk).data());
    }
  }

  /// Returns false if the device is full.
  bool go_on(std::uint64_t tokens) {
    try {
      gpu_.talk(talk_).prepare(tokens);
    } catch (const DeviceOutOfMemory&) {
      return false;
    }
    const std::uint64_t first = gpu_.talk(talk_).advance(tokens);
    for (std::uint64_t row = first; row < first + tokens; ++row) {
      for (std::byte* place : places_) pattern(row).write(place + row * kGrowthRow, kGrowthRow);
    }
    return true;
  }
  void expect_bytes() const {
    for (std::uint64_t row = 0; row < gpu_.talk(talk_).tokens(); ++row) {
      for (const std::byte* place : places_) {
        ASSERT_TRUE(pattern(row).is_at(place + row * kGrowthRow, kGrowthRow))
            << talk_ << ", row " << row;
      }
    }
  }
  void clear() {
    gpu_.talk(talk_).clear();
    ++conversation_;
  }
  [[nodiscard]] std::uint64_t tokens() const { return gpu_.talk(talk_).tokens(); }

 private:
  [[nodiscard]] Pattern pattern(std::uint64_t row) const {
    return Pattern((conversation_ * 8 + talk_) * kGrowthContext + row);
  }

  DeviceLayout& gpu_;
  std::size_t talk_;
  std::vector<std::byte*> places_;
  std::uint64_t conversation_ = 0;
};

// The random life of a talk, on a device without enough memory for all talks to be long.
void live(WrittenTalk& talk, std::mt19937_64& random, std::uint64_t& ended) {
  const std::uint64_t tokens = 1 + random() % 40;
  const bool ends = talk.tokens() + tokens > kGrowthContext || random() % 40 == 0;
  if (!ends && talk.go_on(tokens)) return;
  talk.expect_bytes();
  talk.clear();
  ++ended;
}

constexpr std::size_t kGrowthTalks = 4;
constexpr std::size_t kTooLittle = 8_MiB;  // of the 16 MiB

TEST_F(GrowingAhead, TalksComeAndGo) {
  HostDevice device({.memory = kTooLittle, .granularity = kDevicePage});
  DeviceLayout gpu(device, plan_of(kGrowthTalks), ahead(kAhead));
  std::array<std::uint64_t, kGrowthTalks> ended{};
  std::vector<std::thread> writers;
  for (std::size_t talk = 0; talk < kGrowthTalks; ++talk) {
    writers.emplace_back([&, talk] {
      WrittenTalk written(gpu, talk);
      std::mt19937_64 random(talk);
      for (int step = 0; step < 5'000 && !HasFailure(); ++step) {
        live(written, random, ended[talk]);
      }
      written.expect_bytes();
    });
  }
  for (std::thread& writer : writers) writer.join();
  for (const std::uint64_t conversations : ended) EXPECT_GE(conversations, 25U);
}

TEST(LayoutThread, ServesRequestsInOrderAndRepeatedOnesOnce) {
  std::vector<std::size_t> served;
  std::promise<void> go;
  {
    internal::LayoutThread thread(4, [&, waits = go.get_future().share()](std::size_t who) {
      waits.wait();
      served.push_back(who);
    });
    for (const std::size_t who : {0U, 3U, 1U, 3U, 2U}) thread.ask(who);
    go.set_value();
    thread.wait_for(2);
    EXPECT_EQ(served, (std::vector<std::size_t>{0, 3, 1, 2}));
    thread.ask(1);
  }  // it ends when all have been served
  EXPECT_EQ(served, (std::vector<std::size_t>{0, 3, 1, 2, 1}));
}

TEST_F(GrowingAhead, AHostWithoutMoreThreadsIsAnErrorAndLeavesNothing) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the addresses that this test removes";
  in_child([] {
    HostDevice device({.memory = 64_MiB, .granularity = kDevicePage});
    const std::size_t free = device.memory().free;
    pthread_attr_t large;
    ::pthread_attr_init(&large);
    ::pthread_attr_setstacksize(&large, 1_GiB);
    ::pthread_setattr_default_np(&large);
    const std::size_t now = number_of("/proc/self/status", "VmSize:") << 10;
    const rlimit limit = {now + 256_MiB, now + 256_MiB};
    ::setrlimit(RLIMIT_AS, &limit);
    EXPECT_THROW(DeviceLayout(device, plan_of(1), ahead(kAhead)), SystemError);
    EXPECT_EQ(device.memory().free, free);
  });
}

}  // namespace
}  // namespace tapedeck::tests
