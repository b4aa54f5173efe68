/// @file
/// `bus_bandwidth`: how fast weights can come to a device.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Bytes a second of copies from pinned host memory to the device, one after another. Measured once
/// for each device in a process, told by kind and ordinal, by the first call that needs it, some
/// 0.1 s; later calls give the same. Takes up to 64 MiB on both sides meanwhile, and less where the
/// device has no room.
/// Thread-safety: any thread; others wait while one measures.
/// @throws DeviceError (a HostDevice SystemError); then nothing is kept, neither memory nor a
/// figure.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// const double bus = bus_bandwidth(device);
/// assert(bus > 0 && bus == bus_bandwidth(device));
/// @endcode
[[nodiscard]] double bus_bandwidth(Device& device);

}  // namespace tapedeck::inline TAPEDECK_ABI
