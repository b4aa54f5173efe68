// SPDX-License-Identifier: Apache-2.0
/// @file
/// The memory of a process as counted by /proc. Any value may be unknown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::internal::os {

/// Bytes of all mappings of this process that are in RAM (VmRSS, without hugetlb pages).
[[nodiscard]] std::optional<std::size_t> resident_bytes(const KernelRoots& roots = {});

/// Memory of a process by what backs it, in bytes (/proc/PID/status).
struct ProcessMemory {
  std::optional<std::size_t> anonymous{};  ///< Anonymous memory in RAM.
  std::optional<std::size_t> file{};       ///< File pages in RAM.
  std::optional<std::size_t> shared{};     ///< Shared memory in RAM.
  std::optional<std::size_t> peak{};       ///< The most that ever was in RAM.
  std::optional<std::size_t> swapped{};
  std::optional<std::size_t> hugetlb{};  ///< Not counted in any other field.
};
[[nodiscard]] ProcessMemory process_memory(const KernelRoots& roots = {},
                                           const std::string& process = "self");

/// Anonymous memory of this process in transparent huge pages (/proc/self/smaps_rollup). The kernel
/// walks all pages of the process to count it.
[[nodiscard]] std::optional<std::size_t> anon_huge_bytes(const KernelRoots& roots = {});

/// Page faults of this process so far.
struct FaultCount {
  std::uint64_t minor = 0;
  std::uint64_t major = 0;
};
[[nodiscard]] FaultCount page_faults() noexcept;

}  // namespace tapedeck::internal::os
