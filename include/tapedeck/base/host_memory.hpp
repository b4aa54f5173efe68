/// @file
/// What the kernel says of this host's memory: where it says so, what bounds memory, and its nodes.
#pragma once

#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Where the kernel's files are: elsewhere in a container that mounts its host's, and in tests.
struct KernelRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";  ///< Memory cgroups are looked for below fs/cgroup.
};

/// Something that bounds memory, and how much of it is used up.
struct MemoryLimit {
  std::string name{};       ///< "MemAvailable", "memory cgroup /a/b, memory.max", "RLIMIT_AS".
  std::uint64_t limit = 0;  ///< Bytes.
  std::uint64_t used = 0;   ///< Bytes, without file pages the kernel would drop.

  /// Bytes: what the limit leaves.
  [[nodiscard]] std::uint64_t available() const noexcept { return limit > used ? limit - used : 0; }
};

/// Memory of a NUMA node that is online.
struct NumaNode {
  std::uint32_t id = 0;
  std::uint64_t total = 0;        ///< Bytes.
  std::uint64_t free = 0;         ///< Bytes.
  std::uint64_t reclaimable = 0;  ///< Bytes of file pages the kernel would drop.
  bool allowed = true;            ///< This process's cpuset has it.
};

}  // namespace tapedeck::inline TAPEDECK_ABI
