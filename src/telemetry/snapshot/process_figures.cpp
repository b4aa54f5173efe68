// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/snapshot/process_figures.hpp"

#include <array>

#include "base/amounts.hpp"
#include "os/cgroup.hpp"
#include "os/file.hpp"
#include "os/meminfo.hpp"
#include "os/pages.hpp"
#include "os/pressure.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

constexpr auto kBytes = StatUnit::bytes;
constexpr auto kShare = StatUnit::basis_points;
constexpr auto kTime = StatUnit::microseconds;
constexpr auto kGauge = StatKind::gauge;
constexpr auto kCounter = StatKind::counter;

using P = ProcessFigures;
constexpr auto kProcessFields = std::to_array<ProcessField>({
    {"rss_anon", kBytes, kGauge, "Anonymous memory in RAM.", &P::rss_anon},
    {"rss_file", kBytes, kGauge, "Mapped files in RAM.", &P::rss_file},
    {"rss_shmem", kBytes, kGauge, "Shared memory in RAM.", &P::rss_shmem},
    {"rss_peak", kBytes, kGauge, "The most memory that was ever in RAM.", &P::rss_peak},
    {"swapped", kBytes, kGauge, "Memory in swap.", &P::swapped},
    {"anon_huge", kBytes, kGauge, "Anonymous memory in transparent huge pages.", &P::anon_huge},
    {"hugetlb", kBytes, kGauge, "Memory in pages of the hugetlb pool.", &P::hugetlb},
    {"minor_faults", StatUnit::count, kCounter, "Page faults that needed no disk.",
     &P::minor_faults},
    {"major_faults", StatUnit::count, kCounter, "Page faults that waited for a disk.",
     &P::major_faults},
    {"cgroup_current", kBytes, kGauge, "Memory charged to the cgroup.", &P::cgroup_current},
    {"cgroup_limit", kBytes, kGauge, "The lowest memory limit of the cgroup and its ancestors.",
     &P::cgroup_limit},
    {"host_pressure_some", kShare, kGauge,
     "Share of the last 10 s in which a task of the host waited for memory.",
     &P::host_pressure_some},
    {"host_pressure_full", kShare, kGauge,
     "Share of the last 10 s in which all tasks of the host waited for memory.",
     &P::host_pressure_full},
    {"host_stalled_some", kTime, kCounter, "Time in which a task of the host waited for memory.",
     &P::host_stalled_some},
    {"host_stalled_full", kTime, kCounter, "Time in which all tasks of the host waited for memory.",
     &P::host_stalled_full},
    {"cgroup_pressure_some", kShare, kGauge,
     "Share of the last 10 s in which a task of the cgroup waited for memory.",
     &P::cgroup_pressure_some},
    {"cgroup_pressure_full", kShare, kGauge,
     "Share of the last 10 s in which all tasks of the cgroup waited for memory.",
     &P::cgroup_pressure_full},
    {"cgroup_stalled_some", kTime, kCounter,
     "Time in which a task of the cgroup waited for memory.", &P::cgroup_stalled_some},
    {"cgroup_stalled_full", kTime, kCounter,
     "Time in which all tasks of the cgroup waited for memory.", &P::cgroup_stalled_full},
    {"model_file", kBytes, kGauge, "Size of the model's files.", &P::model_file},
    {"model_file_cached", kBytes, kGauge, "Part of the model's files that is in the page cache.",
     &P::model_file_cached},
});

// If one file cannot be read, the sum is unknown rather than too small.
void add_model_file(P& figures, const std::filesystem::path& path) {
  try {
    const os::OpenedFile file = os::open_regular_file(path);
    figures.model_file = internal::known_sum(figures.model_file, file.facts.bytes);
    figures.model_file_cached =
        internal::known_sum(figures.model_file_cached,
                            os::cached_file_bytes(file.descriptor.get(), 0, file.facts.bytes));
  } catch (const Error&) {
    figures.model_file = figures.model_file_cached = std::nullopt;
  }
}

}  // namespace

std::span<const ProcessField> process_fields() noexcept { return kProcessFields; }

ProcessFigures process_figures(const ProcessOptions& options) {
  const KernelRoots& roots = options.roots;
  const os::ProcessMemory memory = os::process_memory(roots);
  const os::FaultCount faults = os::page_faults();
  const os::CgroupMemory group = os::cgroup_memory(roots);
  const os::Pressure host = os::memory_pressure(roots);
  ProcessFigures figures = {.rss_anon = memory.anonymous,
                            .rss_file = memory.file,
                            .rss_shmem = memory.shared,
                            .rss_peak = memory.peak,
                            .swapped = memory.swapped,
                            .anon_huge = os::anon_huge_bytes(roots),
                            .hugetlb = memory.hugetlb,
                            .minor_faults = faults.minor,
                            .major_faults = faults.major,
                            .cgroup_current = group.current,
                            .cgroup_limit = group.limit,
                            .host_pressure_some = host.some.average,
                            .host_pressure_full = host.full.average,
                            .host_stalled_some = host.some.total,
                            .host_stalled_full = host.full.total,
                            .cgroup_pressure_some = group.pressure.some.average,
                            .cgroup_pressure_full = group.pressure.full.average,
                            .cgroup_stalled_some = group.pressure.some.total,
                            .cgroup_stalled_full = group.pressure.full.total};
  if (!options.model_files.empty()) figures.model_file = figures.model_file_cached = 0;
  for (const auto& path : options.model_files) add_model_file(figures, path);
  return figures;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
