/// @file
/// `ProcessFigures`: what the kernel says of this process's memory, and of the pressure on it.
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

/// What is asked, and where.
struct ProcessOptions {
  KernelRoots roots{};
  std::vector<std::filesystem::path> model_files{};  ///< Whose pages in the page cache are counted.
};

/// Figures of this process at one moment. Each of them may be unknown, where the kernel does not
/// tell, or tells nonsense. Thread-safety: a value.
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
  Figure hugetlb{};         ///< Bytes; in none of the above.
  Figure minor_faults{};    ///< So far.
  Figure major_faults{};    ///< So far; each one waited for a disk.
  Figure cgroup_current{};  ///< Bytes charged to the process's own memory cgroup, page cache too.
  Figure cgroup_limit{};    ///< Bytes: the least limit of that group and its ancestors.
  // Waiting for memory, of the host and of the cgroup (version 2): of some task, or of all at once.
  // Pressure is a share of the last ten seconds, in ten-thousandths; stalled are microseconds.
  Figure host_pressure_some{};
  Figure host_pressure_full{};
  Figure host_stalled_some{};
  Figure host_stalled_full{};
  Figure cgroup_pressure_some{};
  Figure cgroup_pressure_full{};
  Figure cgroup_stalled_some{};
  Figure cgroup_stalled_full{};
  Figure model_file{};  ///< Bytes of the model's files; unknown where none are named.
  /// Bytes of these in the page cache. Linux 6.5 and newer tell it to a user who may write them.
  Figure model_file_cached{};
};

/// A row of the list: the figure may be unknown.
using ProcessField = StatField<ProcessFigures, ProcessFigures::Figure>;

/// The list of them, each as it is called above. As `tape_fields`.
[[nodiscard]] std::span<const ProcessField> process_fields() noexcept;

/// Asks the kernel: it reads some files, of which one (smaps_rollup) has it walk over all pages of
/// the process. Not for the path of a token.
[[nodiscard]] ProcessFigures process_figures(const ProcessOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
