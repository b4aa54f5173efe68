/// @file
/// `start_pinned`: a tape of host memory that a device copies from and to by itself.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A tape as `Tape::start` makes it, whose memory is pinned for a device, which outlives it: for
/// staging. Copies from and to it are asynchronous. What a copy still reads must not be taken
/// again: see `FrameRing`.
/// @pre `decommit()` is not called on it: a pinned range goes as a whole.
/// @throws as `Tape::start`; InvalidArgument for a `commit_step`; DeviceError where it cannot be
/// pinned. Nothing is left behind.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// Tape staging = start_pinned(device, 1_MiB, {.name = "staging"});
/// const std::span<float> row = staging.take<float>(1000);
/// row[0] = 1.0F;
/// @endcode
[[nodiscard]] Tape start_pinned(Device& device, std::size_t bytes, TapeOptions options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
