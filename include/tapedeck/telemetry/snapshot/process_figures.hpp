// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ProcessFigures`: what the kernel reports about this process's memory and memory pressure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/host_memory.hpp"
#include "tapedeck/layout/stat_fields.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What `process_figures` queries, and where.
struct ProcessOptions {
  KernelRoots roots{};
  std::vector<std::filesystem::path> model_files{};  ///< Files to count in the page cache.
};

/// Memory metrics of this process at one moment. One is unknown if the kernel reports nothing, or
/// nonsense. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// const ProcessFigures now = process_figures();
/// if (now.rss_anon) std::cout << to_iec(*now.rss_anon) << " of our own in RAM\n";
/// if (now.host_pressure_some.value_or(0) > 1000) std::cout << "over 10 % waits for memory\n";
/// @endcode
struct ProcessFigures {
  using Figure = std::optional<std::uint64_t>;

  Figure rss_anon{};        ///< Bytes.
  Figure rss_file{};        ///< Bytes.
  Figure rss_shmem{};       ///< Bytes.
  Figure rss_peak{};        ///< Bytes (VmHWM).
  Figure swapped{};         ///< Bytes.
  Figure anon_huge{};       ///< Bytes, of `rss_anon`.
  Figure hugetlb{};         ///< Bytes; not included in the `rss_` metrics.
  Figure minor_faults{};    ///< Since the process started.
  Figure major_faults{};    ///< Since the process started; each one waited for a disk.
  Figure cgroup_current{};  ///< Bytes charged to the process's own memory cgroup, with page cache.
  Figure cgroup_limit{};    ///< Bytes: the lowest limit of its memory cgroup and its ancestors.
  // Waits for memory on the host and in the cgroup (version 2), of some task or of all at once.
  // Pressure is a share of the last ten seconds, in ten-thousandths; stalled is in microseconds.
  Figure host_pressure_some{};
  Figure host_pressure_full{};
  Figure host_stalled_some{};
  Figure host_stalled_full{};
  Figure cgroup_pressure_some{};
  Figure cgroup_pressure_full{};
  Figure cgroup_stalled_some{};
  Figure cgroup_stalled_full{};
  Figure model_file{};  ///< Size of `ProcessOptions::model_files`; unknown if it is empty.
  /// Bytes of `model_file` in the page cache. Known from Linux 6.5 on, if the user may write them.
  Figure model_file_cached{};
};

/// A row of `process_fields`. Its value may be unknown.
using ProcessField = StatField<ProcessFigures, ProcessFigures::Figure>;

/// The fields of `ProcessFigures`, named like its members, in a list with static lifetime.
/// Thread-safety: any thread.
[[nodiscard]] std::span<const ProcessField> process_fields() noexcept;

/// Queries the kernel. It reads several files, and for one of them (smaps_rollup) the kernel walks
/// over all pages of the process: do not call it for every token.
[[nodiscard]] ProcessFigures process_figures(const ProcessOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
