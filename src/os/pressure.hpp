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
  std::optional<std::uint64_t> total{};  ///< Microseconds since boot, or since the group is there.
};

struct Pressure {
  Stalls some{};  ///< At least one task waited.
  Stalls full{};  ///< All of them did.
};

/// Of "/proc/pressure/memory", or a cgroup's "memory.pressure".
[[nodiscard]] Pressure read_pressure(const std::string& path);

/// Of the whole host.
[[nodiscard]] Pressure memory_pressure(const KernelRoots& roots = {});

}  // namespace tapedeck::internal::os
