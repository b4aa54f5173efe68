// SPDX-License-Identifier: Apache-2.0
/// @file
/// `start_pinned`: a tape of pinned host memory, for asynchronous copies from and to a device.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Creates a tape like `Tape::start`, with memory that is pinned for a device, for staging. Copies
/// from and to it are asynchronous. Memory that a copy still reads must not be taken again; see
/// `FrameRing`.
/// @pre the device outlives the tape. `decommit()` is never called on the tape, because a pinned
/// range can only be unpinned as a whole.
/// @throws InvalidArgument, also for a `commit_step`; SystemError; DeviceError if the memory cannot
/// be pinned. An error leaves nothing allocated.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// Tape staging = start_pinned(device, 1_MiB, {.name = "staging"});
/// const std::span<float> row = staging.take<float>(1000);
/// row[0] = 1.0F;
/// @endcode
[[nodiscard]] Tape start_pinned(Device& device, std::size_t bytes, TapeOptions options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
