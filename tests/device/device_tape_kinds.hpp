// SPDX-License-Identifier: Apache-2.0
/// @file
/// Device tapes on a device's memory, each named "kind" and about `kKindBytes` large, for the
/// suites that run on all tapes. `Maker` creates the device, like a kind of `DeviceContract`.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>

#include "memory/tape_contract.hpp"
#include "memory/tape_kinds.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/device/page_pool.hpp"

namespace tapedeck::tests {

template <>
inline constexpr std::size_t kTakeLine<DeviceTape> = kDeviceLine;

inline constexpr std::size_t kDeviceBytes = 8 * kKindBytes;

template <class Maker>
struct PlainDeviceTape {
  static constexpr const char* kName = "PlainDevice";
  std::unique_ptr<Device> device = Maker::make(kDeviceBytes);
  DeviceTape tape = DeviceTape::start(*device, kKindBytes, {.name = "kind"});
};

/// Grown completely in advance, page by page, so takes do not grow it.
template <class Maker>
struct GrownDeviceTape {
  static constexpr const char* kName = "GrownDevice";
  GrownDeviceTape() {
    while (tape.committed() < tape.total()) tape.prepare(tape.committed() + 1);
  }
  std::unique_ptr<Device> device = Maker::make(kDeviceBytes);
  PagePool pool{*device};
  DeviceTape tape = DeviceTape::reserve(pool, kKindBytes, {.name = "kind"});
};

/// None of it is committed.
template <class Maker>
struct GrowingDeviceTape {
  static constexpr const char* kName = "GrowingDevice";
  bool refuse = false;
  std::unique_ptr<Device> device = Maker::make(kDeviceBytes);
  PagePool pool{*device};
  DeviceTape tape = DeviceTape::reserve(
      pool, kKindBytes, {.name = "kind", .block = refusing_while<DeviceBlockOptions>(refuse)});
};

/// A tape at an odd address and with an odd size.
template <class Maker>
struct BorrowedDeviceTape {
  static constexpr const char* kName = "BorrowedDevice";
  ~BorrowedDeviceTape() {
    tape = DeviceTape();
    device->deallocate(memory);
  }
  std::unique_ptr<Device> device = Maker::make(kDeviceBytes);
  std::byte* memory = device->allocate(kKindBytes + 1000);
  DeviceTape tape = DeviceTape::over(
      DeviceBlock::borrow(*device, {memory + 13, kKindBytes + 256 + 101}), {.name = "kind"});
};

template <class Maker>
using DeviceTapeKinds =
    ::testing::Types<PlainDeviceTape<Maker>, GrownDeviceTape<Maker>, BorrowedDeviceTape<Maker>>;

template <class Maker>
using GrowingDeviceTapeKinds = ::testing::Types<GrowingDeviceTape<Maker>>;

struct HostDeviceMaker {
  static std::unique_ptr<Device> make(std::size_t bytes) {
    return std::make_unique<HostDevice>(HostDeviceOptions{.memory = bytes});
  }
};

template <class Kinds, class More>
struct JoinedKinds;
template <class... Kinds, class... More>
struct JoinedKinds<::testing::Types<Kinds...>, ::testing::Types<More...>> {
  using type = ::testing::Types<Kinds..., More...>;  // NOLINT(readability-identifier-naming)
};

/// Every kind of tape that needs no driver: on the host, and on a `HostDevice`.
using AllTapeKinds = JoinedKinds<TapeKinds, DeviceTapeKinds<HostDeviceMaker>>::type;
using AllMarkedTapeKinds = JoinedKinds<MarkedTapeKinds, DeviceTapeKinds<HostDeviceMaker>>::type;
using AllGrowingTapeKinds =
    JoinedKinds<GrowingTapeKinds, GrowingDeviceTapeKinds<HostDeviceMaker>>::type;

}  // namespace tapedeck::tests
