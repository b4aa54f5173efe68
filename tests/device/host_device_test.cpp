// SPDX-License-Identifier: Apache-2.0
// The contract of devices for the `HostDevice`, and what only this device supports.

#include "tapedeck/device/host_device.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "device/device_contract.hpp"
#include "device/device_stream_contract.hpp"
#include "device/held_stream.hpp"
#include "os/child.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/fit/budget.hpp"

namespace tapedeck::tests {
namespace {

struct HostKind {
  static constexpr bool kWholeDevice = true;

  [[nodiscard]] static HeldStream hold(Device& /*device*/, StreamHandle stream) {
    return HeldStream(stream);
  }
  [[nodiscard]] static std::unique_ptr<Device> make(std::size_t limit) {
    return std::make_unique<HostDevice>(HostDeviceOptions{.memory = limit});
  }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Host, DeviceContract, HostKind);
INSTANTIATE_TYPED_TEST_SUITE_P(Host, DeviceStreamContract, HostKind);

TEST(HostDevice, SaysWhatItIs) {
  const HostDevice device({.memory = 10_MiB, .granularity = 2_MiB, .ordinal = 3});
  EXPECT_EQ(device.label(), "simulated device 3");
  EXPECT_EQ(device.info().kind, DeviceKind::host);
  EXPECT_EQ(device.info().total, 10_MiB);
  EXPECT_EQ(device.info().granularity, 2_MiB);
  EXPECT_EQ(device.info().driver, "");
}

TEST(HostDevice, HasByItselfWhatTheHostHas) {
  const HostDevice device;
  EXPECT_GT(device.memory().free, 0U);
  EXPECT_LE(device.memory().free, host_budget().available * 2);
}

TEST(HostDevice, RefusesAnInvalidGranularity) {
  for (const std::size_t granularity : {0U, 1U, 100U, 2048U, 65'537U, 3U << 20}) {
    EXPECT_THROW(HostDevice({.granularity = granularity}), InvalidArgument) << granularity;
  }
}

// The child has none of the threads, even if one is at work while the process forks.
TEST(HostDevice, EndsInAForkedChild) {
  auto device = std::make_unique<HostDevice>(HostDeviceOptions{.memory = 10_MiB});
  std::optional<DeviceStream> stream(std::in_place, *device);
  std::byte* const at = device->allocate(100);
  {
    const HeldStream held(stream->handle());
    in_child([&] {
      for (const std::function<void()>& call : std::vector<std::function<void()>>{
               [&] { stream->synchronize(); }, [&] { device->synchronize(); },
               [&] { device->fill(at, std::byte{7}, 100, stream->handle()); }}) {
        EXPECT_EQ(thrown<WrongState>(call).state(), ObjectState::forked);
      }
      device->deallocate(at);
      stream.reset();
      device.reset();
    });
  }
  device->fill(at, std::byte{7}, 100, stream->handle());
  stream->synchronize();
  EXPECT_EQ(at[99], std::byte{7});
  device->deallocate(at);
}

TEST(HostDevice, ReservationsAreWholePagesOfItsOwnSize) {
  HostDevice device({.granularity = 2_MiB});
  for (int i = 0; i < 20; ++i) {
    std::byte* const at = device.reserve(2_MiB);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 2_MiB, 0U);
    device.unreserve(at, 2_MiB);
  }
}

TEST(HostDevice, WaitsForItsStreamsBeforeItGoes) {
  Bytes to(1_MiB);
  const Bytes from(1_MiB, std::byte{9});
  {
    HostDevice device;
    auto* const stream = device.create_stream();
    for (int i = 0; i < 20; ++i) device.copy(to.data(), from.data(), to.size(), stream);
    device.destroy_stream(stream);
  }
  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace tapedeck::tests
