// SPDX-License-Identifier: Apache-2.0
/// @file
/// What the kernel reports about this host's memory: where its files are, limits, and NUMA nodes.
#pragma once

#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Where the kernel's files are mounted. Tests, and containers that mount the host's files, use
/// other paths than the defaults.
struct KernelRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";  ///< Memory cgroups are searched under fs/cgroup.
};

/// A memory limit, and how much of it is used.
struct MemoryLimit {
  std::string name{};       ///< "MemAvailable", "memory cgroup /a/b, memory.max", "RLIMIT_AS".
  std::uint64_t limit = 0;  ///< Bytes.
  std::uint64_t used = 0;   ///< Bytes, not counting file pages that the kernel would drop.
  bool mapped = false;      ///< It limits what is mapped, in RAM or not, as RLIMIT_AS does.

  /// Bytes that the limit leaves.
  [[nodiscard]] std::uint64_t available() const noexcept { return limit > used ? limit - used : 0; }
};

/// The memory of a NUMA node that is online.
struct NumaNode {
  std::uint32_t id = 0;
  std::uint64_t total = 0;        ///< Bytes.
  std::uint64_t free = 0;         ///< Bytes.
  std::uint64_t reclaimable = 0;  ///< Bytes of file pages the kernel would drop.
  bool allowed = true;            ///< This process's cpuset includes the node.
};

}  // namespace tapedeck::inline TAPEDECK_ABI
