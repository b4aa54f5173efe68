/// @file
/// A clock that is a load from memory.
#pragma once

#include <time.h>

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Nanoseconds since some moment that all processes of a host share, exact to a tick of the kernel
/// (1 to 10 ms): such a clock is read without a system call whatever the host counts time with.
[[nodiscard]] inline std::uint64_t coarse_nanoseconds() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace tapedeck::internal::os
