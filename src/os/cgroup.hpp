// SPDX-License-Identifier: Apache-2.0
/// @file
/// The memory cgroups of this process, versions 1 and 2. Any value may be unknown.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "os/pressure.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::internal::os {

/// Adds a limit, unless it is unknown or so large that it means "unlimited".
void add_limit(std::vector<MemoryLimit>& limits, std::string name, std::optional<std::size_t> limit,
               std::size_t used);

/// Adds the limits of each group, from the process's own group up to the root.
/// @param kept  bytes of mapped file pages that count as used, although the kernel could drop them
void add_cgroups(std::vector<MemoryLimit>& limits, const KernelRoots& roots, std::size_t kept);

struct CgroupMemory {
  std::optional<std::size_t> current{};  ///< Bytes charged to its own group, with page cache.
  std::optional<std::size_t> limit{};  ///< Bytes: the lowest limit of the group and its ancestors.
  Pressure pressure{};                 ///< Of its own group; version 2 only.
};

[[nodiscard]] CgroupMemory cgroup_memory(const KernelRoots& roots = {});

}  // namespace tapedeck::internal::os
