/// @file
/// `host_budget`: how much memory this host can really give this process, and what bounds it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What a host can give, decided by its tightest limit. A moment's figures: others take and give
/// memory all the time. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// const HostBudget budget = host_budget();
/// std::cout << to_iec(budget.available) << " left, because of " << budget.limit << '\n';
/// for (const MemoryLimit& limit : budget.limits) assert(limit.available() >= budget.available);
/// @endcode
struct HostBudget {
  std::uint64_t available = 0;        ///< Bytes.
  std::string limit{};                ///< The name of what binds.
  std::vector<MemoryLimit> limits{};  ///< Everything that bounds `available`, tightest first.
  /// RLIMIT_MEMLOCK, which bounds only memory that is locked; nothing where it does not hold for
  /// this process.
  std::optional<MemoryLimit> lockable{};
  std::vector<NumaNode> nodes{};  ///< Empty where the kernel does not tell.
};

/// What a device can give. Filled by the caller, from the driver it uses.
struct DeviceBudget {
  std::uint64_t free = 0;   ///< Bytes.
  std::uint64_t total = 0;  ///< Bytes.
  std::string name{};       ///< "NVIDIA H200".
  /// Of copies from pinned host memory: `bus_bandwidth` measures it. 0: not known.
  double bus_bytes_per_second = 0;
};

/// Reads what bounds memory: MemAvailable; the limits of every memory cgroup, v1 (limit_in_bytes
/// and the hierarchical limit) and v2 (memory.max and memory.high), from the process's own up to
/// the root; the nodes of its cpuset; RLIMIT_AS and RLIMIT_DATA; and the commit limit where the
/// host does not overcommit. Inactive file pages of a group count as free, as the kernel drops them
/// first. What is missing, garbled or unlimited bounds nothing.
/// @throws SystemError where not even MemAvailable can be read.
[[nodiscard]] HostBudget host_budget(const KernelRoots& roots = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
