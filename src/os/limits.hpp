// SPDX-License-Identifier: Apache-2.0
/// @file
/// The limits of the memory that this process may use. A limit that the kernel does not report is
/// ignored.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::internal::os {

/// All limits of how much more memory this process may use: MemAvailable; the limits of each memory
/// cgroup (v1 and v2) from the process's own up to the root; the NUMA nodes of its cpuset if it
/// excludes some; RLIMIT_AS and RLIMIT_DATA; and the commit limit if the host does not overcommit.
/// Limits that cannot be read or are unlimited are not listed.
[[nodiscard]] std::vector<MemoryLimit> memory_limits(const KernelRoots& roots = {});

/// The limits of `memory_limits` at which the kernel refuses to map more, instead of killing a
/// process later: RLIMIT_AS, RLIMIT_DATA and the commit limit.
[[nodiscard]] std::vector<MemoryLimit> mapping_limits(const KernelRoots& roots = {});

/// RLIMIT_MEMLOCK; `nullopt` if it is unlimited or unknown, or does not apply to this process
/// (CAP_IPC_LOCK).
[[nodiscard]] std::optional<MemoryLimit> memlock_limit(const KernelRoots& roots = {});

/// The NUMA nodes that are online; empty if the kernel has none or does not report them.
[[nodiscard]] std::vector<NumaNode> numa_nodes(const KernelRoots& roots = {});

/// How much more memory this process may use, and the limit that applies.
struct Budget {
  std::size_t available;  ///< Bytes.
  std::string limit;      ///< As `MemoryLimit::name`.
};

/// The tightest of the limits; `nullopt` if there are none.
[[nodiscard]] std::optional<Budget> tightest_of(std::span<const MemoryLimit> limits);

/// The tightest limit of memory in RAM (MemAvailable and the memory cgroups), for code that fills
/// addresses which are already mapped. Unknown without /proc.
[[nodiscard]] std::optional<Budget> memory_budget(const KernelRoots& roots = {});

}  // namespace tapedeck::internal::os
