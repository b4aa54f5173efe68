/// @file
/// What the kernel tells in /proc, /sys and the cgroup file systems. Every answer may be "unknown".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Where to look; tests put folders of their own here.
struct Roots {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
  std::string sys = "/sys";
};

/// A line of /proc/meminfo, in bytes: "MemAvailable".
[[nodiscard]] std::optional<std::size_t> meminfo_bytes(std::string_view field,
                                                       const Roots& roots = {});

/// Bytes of all mappings of this process that are in RAM (VmRSS; not of hugetlb).
[[nodiscard]] std::optional<std::size_t> resident_bytes(const Roots& roots = {});

/// Memory of a process by what backs it, in bytes (/proc/PID/status).
struct ProcessMemory {
  std::optional<std::size_t> anonymous{};  ///< In RAM; so are the next two.
  std::optional<std::size_t> file{};
  std::optional<std::size_t> shared{};
  std::optional<std::size_t> peak{};  ///< The most that ever was in RAM.
  std::optional<std::size_t> swapped{};
  std::optional<std::size_t> hugetlb{};  ///< In none of the others.
};
[[nodiscard]] ProcessMemory process_memory(const Roots& roots = {},
                                           const std::string& process = "self");

/// Anonymous memory of this process in transparent huge pages (/proc/self/smaps_rollup). The kernel
/// walks over all pages for it.
[[nodiscard]] std::optional<std::size_t> anon_huge_bytes(const Roots& roots = {});

/// Bytes of the range that are in RAM: the present bits of /proc/self/pagemap. `mincore` would
/// count the page cache instead.
[[nodiscard]] std::optional<std::size_t> present_bytes(const std::byte* at, std::size_t bytes);

/// Bytes of a file's or shared mapping that are in the page cache (mincore). For files of other
/// owners the kernel says that all of it is, so this is no measure of residency.
[[nodiscard]] std::optional<std::size_t> cached_bytes(std::byte* at, std::size_t bytes);

/// Bytes of the range that huge pages back (/proc/self/smaps); an upper bound where the kernel
/// merged the range with a neighbour.
[[nodiscard]] std::optional<std::size_t> huge_bytes(const std::byte* at, std::size_t bytes);

/// Bytes of the range that were written and are not on disk (/proc/self/smaps); an upper bound as
/// above.
[[nodiscard]] std::optional<std::size_t> dirty_bytes(const std::byte* at, std::size_t bytes);

/// Something that bounds memory, and how much of it is used up.
struct MemoryLimit {
  std::string name{};     ///< "MemAvailable", "memory cgroup /a/b, memory.max".
  std::size_t limit = 0;  ///< Bytes.
  std::size_t used = 0;   ///< Bytes, without file pages the kernel would drop.

  [[nodiscard]] std::size_t available() const noexcept { return limit > used ? limit - used : 0; }
};

/// Everything that bounds how much more memory this process may use: MemAvailable; for each memory
/// cgroup (v1 and v2) from the process's own up to the root, its limits; the NUMA nodes of its
/// cpuset where those are not all; RLIMIT_AS and RLIMIT_DATA; the commit limit of a host that does
/// not overcommit. What cannot be read, or is unlimited, is not listed.
[[nodiscard]] std::vector<MemoryLimit> memory_limits(const Roots& roots = {});

/// RLIMIT_MEMLOCK; nothing where it is unlimited, unknown, or this process need not obey it
/// (CAP_IPC_LOCK).
[[nodiscard]] std::optional<MemoryLimit> memlock_limit(const Roots& roots = {});

/// A NUMA node that is online.
struct NumaNode {
  unsigned id = 0;
  std::size_t total = 0;        ///< Bytes.
  std::size_t free = 0;         ///< Bytes.
  std::size_t reclaimable = 0;  ///< Bytes of file pages the kernel would drop.
  bool allowed = true;          ///< This process's cpuset has it.
};

/// Empty where the kernel has none or does not tell.
[[nodiscard]] std::vector<NumaNode> numa_nodes(const Roots& roots = {});

/// How much more memory this process may use, and what bounds it.
struct Budget {
  std::size_t available;  ///< Bytes.
  std::string limit;      ///< As `MemoryLimit::name`.
};

/// The tightest of those limits that bound memory in RAM, for whoever fills addresses it has
/// already: MemAvailable and the memory cgroups. Unknown without /proc.
[[nodiscard]] std::optional<Budget> memory_budget(const Roots& roots = {});

/// Page faults of this process so far.
struct FaultCount {
  std::uint64_t minor = 0;
  std::uint64_t major = 0;
};
[[nodiscard]] FaultCount page_faults() noexcept;

}  // namespace tapedeck::internal::os
