// Tapes and layouts on the CUDA device of a stand-in driver, which tells of every rule they break.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/device_tape_kinds.hpp"
#include "device/stand_in_device.hpp"
#include "device/stand_in_faults.hpp"
#include "layout/cache_region.hpp"
#include "memory/pattern.hpp"
#include "memory/tape_growth_contract.hpp"
#include "memory/tape_mark_contract.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/layout/device_layout.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kRow = 4096;
constexpr std::uint64_t kContext = 4096;

struct StandInMaker {
  static std::unique_ptr<Device> make() {
    stand_in::reset();
    return std::make_unique<CudaDevice>();
  }
};
INSTANTIATE_TYPED_TEST_SUITE_P(StandIn, TapeContract, DeviceTapeKinds<StandInMaker>, TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(StandIn, TapeMarkContract, DeviceTapeKinds<StandInMaker>,
                               TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(StandIn, TapeGrowthContract, GrowingDeviceTapeKinds<StandInMaker>,
                               TapeKindNames);

Plan plan_of(std::uint64_t talks) {
  Plan plan;
  plan.talks = talks;
  plan.context_per_talk = kContext;
  plan.weights.append({.name = "embedding", .bytes = 100'000});
  plan.scratch.append({.name = "decode.logits", .role = RegionRole::decode, .bytes = 4096});
  for (const char* name : {"layers.0.k", "layers.0.v"}) {
    plan.history.append(cache_region(name, RegionRole::kv, kContext, kRow));
  }
  plan.history.append({.name = "layers.1.state", .role = RegionRole::recurrent, .bytes = 1000});
  return plan;
}

DeviceLayoutOptions growing() { return {.commit = Commit::with_talks, .growth_step = 256}; }

class CudaLayout : public ::testing::Test {
 protected:
  CudaLayout() { stand_in::reset({.memory = 128_MiB}); }
  ~CudaLayout() override {
    device_.reset();
    expect_all_given_back();
  }

  CudaDevice& device() {
    if (device_ == nullptr) device_ = std::make_unique<CudaDevice>();
    return *device_;
  }

 private:
  std::unique_ptr<CudaDevice> device_;
};

TEST_F(CudaLayout, BytesFromBeforeGrowthAreReadThroughTheOldAddress) {
  DeviceLayout gpu(device(), plan_of(2), growing());
  const DeviceStream stream(device());
  std::byte* const keys = gpu.history_at(gpu.plan().history.regions()[0]).data();
  constexpr std::uint64_t kStep = 97;
  std::vector<std::byte> row(kRow);
  for (std::uint64_t token = 0; token < kContext; token += kStep) {
    gpu.talk(0).prepare(kStep);
    static_cast<void>(gpu.talk(0).advance(kStep));
    Pattern(token).write(row.data(), kRow);
    device().copy(keys + token * kRow, row.data(), kRow, stream.handle());
    stream.synchronize();
    if (token + 2 * kStep > kContext) break;
  }
  for (std::uint64_t token = 0; token + 2 * kStep <= kContext; token += kStep) {
    device().copy(row.data(), keys + token * kRow, kRow, stream.handle());
    stream.synchronize();
    ASSERT_TRUE(Pattern(token).is_at(row.data(), kRow)) << token;
  }
}

TEST_F(CudaLayout, APassMakesNoCallOfTheDriver) {
  Layout layout(plan_of(2), {.commit = Commit::nothing, .gpus = {{&device(), {}, growing()}}});
  DeviceLayout& gpu = layout.gpu(0);
  for (int token = 0; token < 10'000; ++token) {
    if (gpu.talk(1).tokens() == kContext) layout.clear_talk(1);
    gpu.talk(1).prepare(1);
    const std::uint64_t before = stand_in::calls();
    static_cast<void>(gpu.talk(1).advance());
    EXPECT_EQ(gpu.scratch().try_take(256), nullptr);
    EXPECT_EQ(gpu.weights_at(gpu.plan().weights.regions()[0]).size(), 100'000U);
    layout.clear_pass();
    static_cast<void>(layout.stat());
    ASSERT_EQ(stand_in::calls(), before);
  }
}

TEST_F(CudaLayout, PagesOfAClearedTalkAreTakenOnlyAfterTheDeviceIsDoneWithThem) {
  DeviceLayout gpu(device(), plan_of(2), growing());
  const DeviceStream stream(device());
  gpu.talk(0).prepare(kContext / 2);
  static_cast<void>(gpu.talk(0).advance(kContext / 2));
  std::byte* const keys = gpu.history_at(gpu.plan().history.regions()[0]).data();
  device().fill(keys, std::byte{1}, kContext / 2 * kRow, stream.handle());
  const std::uint64_t held = gpu.stat().pool_held;
  gpu.clear_talk(0);
  gpu.talk(1).prepare(kContext / 2);  // unmapping under the fill would be a violation
  EXPECT_EQ(gpu.stat().pool_held, held);
}

TEST_F(CudaLayout, TrimWaitsForItsEventAndReleases) {
  DeviceLayout gpu(device(), plan_of(1), growing());
  const DeviceStream stream(device());
  DeviceEvent done(device());
  gpu.talk(0).prepare(kContext);
  std::byte* const keys = gpu.history_at(gpu.plan().history.regions()[0]).data();
  device().fill(keys, std::byte{1}, kContext * kRow, stream.handle());
  done.record(stream.handle());
  const std::size_t bytes = stand_in::live().bytes;
  EXPECT_EQ(gpu.decommit(done.handle()), 2 * kContext * kRow);
  EXPECT_EQ(stand_in::live().bytes, bytes - 2 * kContext * kRow);
}

// Where the driver may fail: creation, growth, growth from another talk, trim.
TEST(CudaLayoutFaults, EveryCallOfALifeMayFail) {
  const auto life = [] {
    CudaDevice device;
    DeviceLayout gpu(device, plan_of(2), growing());
    DeviceEvent done(device);
    gpu.talk(0).prepare(600);
    static_cast<void>(gpu.talk(0).advance(600));
    gpu.clear_talk(0);
    gpu.talk(1).prepare(1200);
    done.record(nullptr);
    static_cast<void>(gpu.decommit(done.handle()));
    gpu.talk(0).prepare(10);
  };
  const auto [calls, told] = sweep_driver_calls(life);
  EXPECT_GE(calls, 100U);
  EXPECT_GE(told, 50U);
}

TEST(CudaLayoutFaults, EveryCallOfACompleteLayoutMayFail) {
  const auto life = [] {
    CudaDevice device;
    DeviceLayout gpu(device, plan_of(1), {.frames = 2});
    DeviceEvent done(device);
    done.record(nullptr);
    gpu.clear_pass(done.handle());
  };
  const auto [calls, told] = sweep_driver_calls(life);
  EXPECT_GE(calls, 40U);
  EXPECT_GE(told, 20U);
}

// A growth that fails on the way leaves the talk as it was, and it goes on.
TEST(CudaLayoutFaults, ATalkGoesOnAfterAGrowthThatFailed) {
  for (std::uint64_t k = 1;; ++k) {
    stand_in::reset();
    {
      CudaDevice device;
      DeviceLayout gpu(device, plan_of(1), growing());
      gpu.talk(0).prepare(512);
      const std::size_t committed = gpu.history().committed();
      stand_in::fail_call(k, CUDA_ERROR_OUT_OF_MEMORY);
      bool refused = false;
      try {
        gpu.talk(0).prepare(2048);
      } catch (const DeviceOutOfMemory&) {
        refused = true;
        EXPECT_EQ(gpu.history().committed(), committed);
      }
      if (stand_in::stop_failing().empty()) break;
      if (refused) gpu.talk(0).prepare(2048);
      EXPECT_EQ(gpu.talk(0).advance(2048), 0U);
    }
    ASSERT_LT(k, 1000U);
  }
}

}  // namespace
}  // namespace tapedeck::tests
