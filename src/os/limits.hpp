/// @file
/// What bounds the memory that this process may use. What the kernel does not tell bounds nothing.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::internal::os {

/// Everything that bounds how much more memory this process may use: MemAvailable; for each memory
/// cgroup (v1 and v2) from the process's own up to the root, its limits; the NUMA nodes of its
/// cpuset where those are not all; RLIMIT_AS and RLIMIT_DATA; the commit limit of a host that does
/// not overcommit. What cannot be read, or is unlimited, is not listed.
[[nodiscard]] std::vector<MemoryLimit> memory_limits(const KernelRoots& roots = {});

/// RLIMIT_MEMLOCK; nothing where it is unlimited, unknown, or this process need not obey it
/// (CAP_IPC_LOCK).
[[nodiscard]] std::optional<MemoryLimit> memlock_limit(const KernelRoots& roots = {});

/// Empty where the kernel has none or does not tell.
[[nodiscard]] std::vector<NumaNode> numa_nodes(const KernelRoots& roots = {});

/// How much more memory this process may use, and what bounds it.
struct Budget {
  std::size_t available;  ///< Bytes.
  std::string limit;      ///< As `MemoryLimit::name`.
};

/// Nothing where there are no limits.
[[nodiscard]] std::optional<Budget> tightest_of(std::span<const MemoryLimit> limits);

/// The tightest of those limits that bound memory in RAM, for whoever fills addresses it has
/// already: MemAvailable and the memory cgroups. Unknown without /proc.
[[nodiscard]] std::optional<Budget> memory_budget(const KernelRoots& roots = {});

}  // namespace tapedeck::internal::os
