// SPDX-License-Identifier: Apache-2.0
// The bandwidth of the bus, measured on the stand-in driver, and the driver calls that it needs.
#include <gtest/gtest.h>

#include "device/bus_trial.hpp"
#include "device/stand_in_device.hpp"
#include "device/stand_in_faults.hpp"
#include "tapedeck/device/bus_bandwidth.hpp"

namespace tapedeck::tests {
namespace {

TEST(CudaBusBandwidth, IsMeasuredOnceForEachDevice) {
  stand_in::reset({.devices = 2});
  {
    CudaDevice device(0);
    const double first = bus_bandwidth(device);
    EXPECT_GT(first, 1e6);
    EXPECT_GT(stand_in::transfers(), 5U);
    EXPECT_EQ(device.memory().free, device.memory().total);

    const std::uint64_t calls = stand_in::calls();
    EXPECT_EQ(bus_bandwidth(device), first);
    EXPECT_EQ(stand_in::calls(), calls);

    CudaDevice other(1);
    EXPECT_NE(bus_bandwidth(other), first);
  }
  expect_all_given_back();
}

TEST(CudaBusBandwidth, EveryCallOfTheDriverFailsOnce) {
  const auto [calls, told] = sweep_driver_calls([] {
    CudaDevice device;
    EXPECT_GT(internal::run_bus_trial(device, internal::kLeastBusTrial), 0.0);
  });
  EXPECT_GE(calls, 50U);
  EXPECT_GE(told, 25U);
}

}  // namespace
}  // namespace tapedeck::tests
