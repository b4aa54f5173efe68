// SPDX-License-Identifier: Apache-2.0
/// @file
/// `run_bus_trial`: the measurement behind `bus_bandwidth`.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::internal {

inline constexpr std::size_t kLeastBusTrial = 1_MiB;  // less would measure call overhead
inline constexpr std::size_t kMostBusTrial = 64_MiB;

/// The bandwidth in bytes per second of copies of `bytes`. If there is not enough room, it tries
/// with half as many bytes, down to `kLeastBusTrial`.
/// @throws as `bus_bandwidth`; all memory is released then.
[[nodiscard]] double run_bus_trial(Device& device, std::size_t bytes = kMostBusTrial);

}  // namespace tapedeck::internal
