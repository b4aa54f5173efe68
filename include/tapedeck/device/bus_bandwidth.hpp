// SPDX-License-Identifier: Apache-2.0
/// @file
/// `bus_bandwidth`: how fast weights can be copied to a device.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The bandwidth of consecutive copies from pinned host memory to the device, in bytes per second.
/// The first call for a device (identified by kind and ordinal) measures it, which takes about
/// 0.1 s; later calls in the same process return the same value. The measurement allocates up to
/// 64 MiB on both sides, or less if the device does not have enough room.
/// Thread-safety: any thread; other callers wait during a measurement.
/// @throws DeviceError, or SystemError for a HostDevice; then all memory is released and no value
/// is kept.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// const double bus = bus_bandwidth(device);
/// assert(bus > 0 && bus == bus_bandwidth(device));
/// @endcode
[[nodiscard]] double bus_bandwidth(Device& device);

}  // namespace tapedeck::inline TAPEDECK_ABI
