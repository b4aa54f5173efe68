/// @file
/// `run_bus_trial`: the measurement behind `bus_bandwidth`.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::internal {

inline constexpr std::size_t kLeastBusTrial = 1_MiB;  // less would measure calls, not the bus
inline constexpr std::size_t kMostBusTrial = 64_MiB;

/// Bytes a second of copies of `bytes`, or of a half, a fourth and so on where there is no room.
/// @throws as `bus_bandwidth`; nothing is left behind.
[[nodiscard]] double run_bus_trial(Device& device, std::size_t bytes = kMostBusTrial);

}  // namespace tapedeck::internal
