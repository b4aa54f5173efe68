// SPDX-License-Identifier: Apache-2.0
/// @file
/// A clock that costs little more than a load from memory.
#pragma once

#include <time.h>

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Nanoseconds since a moment that is the same for all processes of a host. The resolution is one
/// kernel tick (1 to 10 ms). This clock is read without a system call on every clock source.
[[nodiscard]] inline std::uint64_t coarse_nanoseconds() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace tapedeck::internal::os
