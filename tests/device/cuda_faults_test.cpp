// SPDX-License-Identifier: Apache-2.0
// Makes every call of the driver fail once.
#include <gtest/gtest.h>

#include <string>

#include "base/on_failure.hpp"
#include "device/device_contract.hpp"
#include "device/stand_in_device.hpp"
#include "device/stand_in_faults.hpp"

namespace tapedeck::tests {
namespace {

TEST(CudaFaults, OpeningADevice) {
  const auto [calls, told] = sweep_driver_calls([] { const CudaDevice device; });
  // All except the pop and the release are reported.
  EXPECT_EQ(told, calls - 2);
  EXPECT_GE(told, 12U);
}

TEST(CudaFaults, LookingForSupport) {
  for (std::uint64_t k = 1; k <= 4; ++k) {
    stand_in::reset();
    stand_in::fail_call(k, CUDA_ERROR_UNKNOWN);
    const CudaSupport support = CudaDevice::support();
    const std::string victim = stand_in::stop_failing();
    EXPECT_NE(victim, "");
    EXPECT_EQ(support.devices, 0U);
    expect_names(support.why, victim);
    expect_all_given_back();
  }
}

void copy_by_two_streams(Device& device, std::byte* at) {
  const DeviceStream stream(device);
  DeviceEvent event(device);
  const Pinned pinned(device, 1000);
  // Memory is only released after the work that uses it has finished.
  internal::OnFailure settle([&] { device.synchronize(); });
  device.fill(at, std::byte{7}, 1000, stream.handle());
  event.record(stream.handle());
  device.wait(nullptr, event.handle());
  device.copy(pinned.at(), at, 1000, nullptr);
  device.synchronize(nullptr);
  event.synchronize();
  EXPECT_TRUE(event.fired());
  EXPECT_EQ(pinned.bytes(), Bytes(1000, std::byte{7}));
  settle.completed();
}

void live() {
  CudaDevice device;
  const MappedPages pages(device, stand_in::kGranularity);
  copy_by_two_streams(device, pages.at());
  Bytes host(100);
  device.pin(host);
  device.unpin(host.data());
  device.deallocate(device.allocate(1000));
  device.synchronize();
  static_cast<void>(device.memory());
}

TEST(CudaFaults, ALifeOfADevice) {
  const auto [calls, told] = sweep_driver_calls(live);
  EXPECT_GE(calls, 70U);
  EXPECT_GE(told, 35U);
}

}  // namespace
}  // namespace tapedeck::tests
