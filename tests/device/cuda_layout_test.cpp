// SPDX-License-Identifier: Apache-2.0
// Tapes and layouts on the CUDA device of the stand-in driver, which reports every rule that they
// break.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "device/device_tape_kinds.hpp"
#include "device/stand_in_device.hpp"
#include "device/stand_in_faults.hpp"
#include "layout/cache_region.hpp"
#include "memory/tape_growth_contract.hpp"
#include "memory/tape_mark_contract.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/layout/device_layout.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kRow = 4096;
constexpr std::uint64_t kContext = 4096;

INSTANTIATE_TYPED_TEST_SUITE_P(StandIn, TapeContract, DeviceTapeKinds<StandInKind>, TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(StandIn, TapeMarkContract, DeviceTapeKinds<StandInKind>,
                               TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(StandIn, TapeGrowthContract, GrowingDeviceTapeKinds<StandInKind>,
                               TapeKindNames);

Plan plan_of(std::uint64_t talks) {
  Plan plan = keys_and_values(talks, kContext, kRow);
  plan.weights.append({.name = "embedding", .bytes = 100'000});
  plan.scratch.append({.name = "decode.logits", .role = RegionRole::decode, .bytes = 4096});
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

TEST_F(CudaLayout, AGrowthOpensEachRunWithOneCall) {
  DeviceLayout gpu(device(), plan_of(1), growing());
  const auto calls = [](const std::string& name) { return stand_in::calls_by_name()[name]; };
  const std::uint64_t mapped = calls("cuMemMap");
  const std::uint64_t opened = calls("cuMemSetAccess");
  gpu.talk(0).prepare(kContext);
  EXPECT_EQ(calls("cuMemMap") - mapped, gpu.history().committed() / stand_in::kGranularity);
  EXPECT_GE(calls("cuMemMap") - mapped, 4U);
  EXPECT_EQ(calls("cuMemSetAccess") - opened, 2U) << "one for K and one for V";
}

// Unmapping during a fill would be a violation.
TEST_F(CudaLayout, PagesGoOnlyWhenTheDeviceIsDoneWithThem) {
  DeviceLayout gpu(device(), plan_of(2), growing());
  const DeviceStream stream(device());
  DeviceEvent done(device());
  const auto fill = [&](std::size_t talk) {
    static_cast<void>(gpu.talk(talk).advance(kContext / 2));
    std::byte* const keys = gpu.history_at(gpu.plan().history.regions()[0], talk).data();
    device().fill(keys, std::byte{1}, kContext / 2 * kRow, stream.handle());
  };
  gpu.talk(0).prepare(kContext / 2);
  fill(0);
  const std::uint64_t held = gpu.stat().pool_held;
  gpu.clear_talk(0);
  gpu.talk(1).prepare(kContext / 2);
  EXPECT_EQ(gpu.stat().pool_held, held);
  fill(1);
  gpu.clear_talk(1);
  done.record(stream.handle());
  const std::size_t bytes = stand_in::live().bytes;
  EXPECT_EQ(gpu.decommit(done.handle()), kContext * kRow);
  EXPECT_EQ(stand_in::live().bytes, bytes - kContext * kRow);
}

// The driver may fail in creation, in growth, in growth from another talk's pages, and in trim.
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

// A growth that fails midway leaves the talk unchanged, and the talk can continue.
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
