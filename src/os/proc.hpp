/// @file
/// What the kernel tells in /proc, /sys and the cgroup file systems. Every answer may be "unknown".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI::os {

/// Where to look; tests put folders of their own here.
struct Roots {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

/// A line of /proc/meminfo, in bytes: "MemAvailable".
[[nodiscard]] std::optional<std::size_t> meminfo_bytes(std::string_view field,
                                                       const Roots& roots = {});

/// Bytes of the range that are in RAM: the present bits of /proc/self/pagemap. `mincore` would
/// count the page cache instead.
[[nodiscard]] std::optional<std::size_t> present_bytes(const std::byte* at, std::size_t bytes);

/// Bytes of a file's or shared mapping that are in the page cache (mincore). For files of other
/// owners the kernel says that all of it is, so this is no measure of residency.
[[nodiscard]] std::optional<std::size_t> cached_bytes(std::byte* at, std::size_t bytes);

/// Bytes of the range that huge pages back (/proc/self/smaps); an upper bound where the kernel
/// merged the range with a neighbour.
[[nodiscard]] std::optional<std::size_t> huge_bytes(const std::byte* at, std::size_t bytes);

/// How much more memory this process may use, and what bounds it.
struct Budget {
  std::size_t available;  ///< Bytes.
  std::string limit;      ///< "MemAvailable", "memory cgroup /a/b (memory.max)".
};

/// The least of MemAvailable and, for each memory cgroup (v1 and v2) from the process's own up to
/// the root, its limit less its use; file pages the kernel would drop do not count as used. Unknown
/// without /proc.
[[nodiscard]] std::optional<Budget> memory_budget(const Roots& roots = {});

/// Page faults of this process so far.
struct FaultCount {
  std::uint64_t minor = 0;
  std::uint64_t major = 0;
};
[[nodiscard]] FaultCount page_faults() noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI::os
