// SPDX-License-Identifier: Apache-2.0
/// @file
/// `host_budget`: how much memory this process can really get from its host, and what limits it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The memory that a host can provide, decided by its tightest limit. This is a snapshot: other
/// processes allocate and free memory all the time. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// const HostBudget budget = host_budget();
/// std::cout << to_iec(budget.available) << " left, because of " << budget.limit << '\n';
/// for (const MemoryLimit& limit : budget.limits) assert(limit.available() >= budget.available);
/// @endcode
struct HostBudget {
  std::uint64_t available = 0;        ///< Bytes.
  std::string limit{};                ///< Name of the tightest limit.
  std::vector<MemoryLimit> limits{};  ///< All limits on `available`, tightest first.
  /// RLIMIT_MEMLOCK, which limits only locked memory; `nullopt` if it does not apply to this
  /// process.
  std::optional<MemoryLimit> lockable{};
  std::vector<NumaNode> nodes{};  ///< Empty if the kernel does not report NUMA nodes.

  /// Returns what is left after so many more bytes of addresses are mapped without being touched:
  /// less of the limits on what may be mapped (`MemoryLimit::mapped`), and as much of all others.
  [[nodiscard]] HostBudget after_mapping(std::uint64_t bytes) const;
};

/// The memory that a device can provide. The caller fills it from the driver it uses.
struct DeviceBudget {
  std::uint64_t free = 0;   ///< Bytes.
  std::uint64_t total = 0;  ///< Bytes.
  std::string name{};       ///< "NVIDIA H200".
  /// Speed of copies from pinned host memory, as `bus_bandwidth` measures it; 0 if not known.
  double bus_bytes_per_second = 0;
  /// Whether its memory is the host's, as with an integrated GPU (`DeviceInfo::integrated`). What
  /// it holds then also counts against the host's budget.
  bool integrated = false;
};

/// Reads all memory limits of this process: MemAvailable; the limits of every memory cgroup, v1
/// (limit_in_bytes and the hierarchical limit) and v2 (memory.max and memory.high), from the
/// process's own cgroup up to the root; the nodes of its cpuset; RLIMIT_AS and RLIMIT_DATA; and the
/// commit limit if the host does not overcommit. A cgroup's clean file pages count as free, because
/// the kernel drops them before it kills, except those that `Weights` of this process map. Values
/// that are missing, garbled or unlimited are ignored.
/// @throws SystemError if not even MemAvailable can be read.
[[nodiscard]] HostBudget host_budget(const KernelRoots& roots = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
