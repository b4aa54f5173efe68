/// @file
/// Device tapes over a device's memory, each called "kind" and of about `kKindBytes`, for the
/// suites that hold for all tapes. `Maker` gives the device: `static std::unique_ptr<Device>
/// make()`.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <string>

#include "memory/tape_contract.hpp"
#include "memory/tape_kinds.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/device/page_pool.hpp"

namespace tapedeck::tests {

template <>
inline constexpr std::size_t kTakeLine<DeviceTape> = kDeviceLine;

template <class Maker>
struct PlainDeviceTape {
  static constexpr const char* kName = "Plain";
  std::unique_ptr<Device> device = Maker::make();
  DeviceTape tape = DeviceTape::start(*device, kKindBytes, {.name = "kind"});
};

/// Grown whole, page by page: its takes do not grow it.
template <class Maker>
struct GrownDeviceTape {
  static constexpr const char* kName = "Grown";
  GrownDeviceTape() {
    while (tape.committed() < tape.total()) tape.prepare(tape.committed() + 1);
  }
  std::unique_ptr<Device> device = Maker::make();
  PagePool pool{*device};
  DeviceTape tape = DeviceTape::reserve(pool, kKindBytes, {.name = "kind"});
};

/// Nothing of it is committed.
template <class Maker>
struct GrowingDeviceTape {
  static constexpr const char* kName = "Growing";
  bool refuse = false;
  std::unique_ptr<Device> device = Maker::make();
  PagePool pool{*device};
  DeviceTape tape = DeviceTape::reserve(
      pool, kKindBytes, {.name = "kind", .block = refusing_while<DeviceBlockOptions>(refuse)});
};

/// At an odd address and of an odd size.
template <class Maker>
struct BorrowedDeviceTape {
  static constexpr const char* kName = "Borrowed";
  ~BorrowedDeviceTape() {
    tape = DeviceTape();
    device->deallocate(memory);
  }
  std::unique_ptr<Device> device = Maker::make();
  std::byte* memory = device->allocate(kKindBytes + 1000);
  DeviceTape tape = DeviceTape::over(
      DeviceBlock::borrow(*device, {memory + 13, kKindBytes + 256 + 101}), {.name = "kind"});
};

template <class Maker>
using DeviceTapeKinds =
    ::testing::Types<PlainDeviceTape<Maker>, GrownDeviceTape<Maker>, BorrowedDeviceTape<Maker>>;

template <class Maker>
using GrowingDeviceTapeKinds = ::testing::Types<GrowingDeviceTape<Maker>>;

}  // namespace tapedeck::tests
