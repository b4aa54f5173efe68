// SPDX-License-Identifier: Apache-2.0
/// @file
/// How long processes waited for memory: the kernel's pressure stall information.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::internal::os {

/// A line of a pressure file.
struct Stalls {
  std::optional<std::uint64_t> average{};  ///< Share of the last 10 s, in ten-thousandths.
  std::optional<std::uint64_t> total{};    ///< Microseconds since boot or the group's creation.
};

struct Pressure {
  Stalls some{};  ///< Time in which at least one task waited.
  Stalls full{};  ///< Time in which all tasks waited.
};

/// Reads "/proc/pressure/memory" or the "memory.pressure" of a cgroup.
[[nodiscard]] Pressure read_pressure(const std::string& path);

/// The memory pressure of the whole host.
[[nodiscard]] Pressure memory_pressure(const KernelRoots& roots = {});

}  // namespace tapedeck::internal::os
