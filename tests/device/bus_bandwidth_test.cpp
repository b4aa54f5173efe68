// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/bus_bandwidth.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "base/thrown.hpp"
#include "device/bus_trial.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {
namespace {

// Two measurements would never be equal to the last digit. Without free memory the result is empty.
TEST(BusBandwidth, IsMeasuredOnceForEachDevice) {
  HostDevice device({.memory = 64_MiB, .ordinal = 101});
  const double first = bus_bandwidth(device);
  EXPECT_GT(first, 1e6);
  EXPECT_EQ(bus_bandwidth(device), first);
  EXPECT_EQ(device.memory().free, 64_MiB);
  HostDevice again({.memory = internal::kLeastBusTrial - 1, .ordinal = 101});
  EXPECT_EQ(bus_bandwidth(again), first);
  HostDevice other({.memory = 64_MiB, .ordinal = 102});
  EXPECT_NE(bus_bandwidth(other), first);
}

TEST(BusBandwidth, IsMeasuredOnceByManyThreads) {
  std::array<double, 4> measured{};
  {
    std::array<std::jthread, 4> threads;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      threads[i] = std::jthread([&measured, i] {
        HostDevice device({.memory = 8_MiB, .ordinal = 103});
        measured[i] = bus_bandwidth(device);
      });
    }
  }
  for (const double each : measured) EXPECT_EQ(each, measured[0]);
}

TEST(BusBandwidth, IsMeasuredWithLittleFreeMemory) {
  HostDevice device({.memory = 3_MiB});
  EXPECT_GT(internal::run_bus_trial(device), 1e6);
  EXPECT_EQ(device.memory().free, 3_MiB);
}

TEST(BusBandwidth, WithoutRoomThereIsNoFigure) {
  HostDevice small({.memory = internal::kLeastBusTrial - 1, .ordinal = 104});
  const auto error = thrown<DeviceOutOfMemory>([&] { static_cast<void>(bus_bandwidth(small)); });
  EXPECT_EQ(error.bytes(), internal::kLeastBusTrial);
  HostDevice larger({.memory = 8_MiB, .ordinal = 104});  // the earlier result was not kept
  EXPECT_GT(bus_bandwidth(larger), 1e6);
}

}  // namespace
}  // namespace tapedeck::tests
