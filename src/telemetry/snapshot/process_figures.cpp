#include "tapedeck/telemetry/snapshot/process_figures.hpp"

#include <array>

#include "os/cgroup.hpp"
#include "os/file.hpp"
#include "os/meminfo.hpp"
#include "os/pages.hpp"
#include "os/pressure.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

constexpr auto kBytes = StatUnit::bytes;
constexpr auto kShare = StatUnit::basis_points;
constexpr auto kTime = StatUnit::microseconds;
constexpr auto kGauge = StatKind::gauge;
constexpr auto kCounter = StatKind::counter;

using P = ProcessFigures;
constexpr std::array kProcessFields = {
    ProcessField{"rss_anon", kBytes, kGauge, "Anonymous memory in RAM.", &P::rss_anon},
    ProcessField{"rss_file", kBytes, kGauge, "Mapped files in RAM.", &P::rss_file},
    ProcessField{"rss_shmem", kBytes, kGauge, "Shared memory in RAM.", &P::rss_shmem},
    ProcessField{"rss_peak", kBytes, kGauge, "The most that ever was in RAM.", &P::rss_peak},
    ProcessField{"swapped", kBytes, kGauge, "In swap.", &P::swapped},
    ProcessField{"anon_huge", kBytes, kGauge, "Anonymous memory in transparent huge pages.",
                 &P::anon_huge},
    ProcessField{"hugetlb", kBytes, kGauge, "Pages of the hugetlb pool.", &P::hugetlb},
    ProcessField{"minor_faults", StatUnit::count, kCounter, "Page faults without a disk.",
                 &P::minor_faults},
    ProcessField{"major_faults", StatUnit::count, kCounter, "Page faults that waited for a disk.",
                 &P::major_faults},
    ProcessField{"cgroup_current", kBytes, kGauge, "Charged to the memory cgroup.",
                 &P::cgroup_current},
    ProcessField{"cgroup_limit", kBytes, kGauge,
                 "The least limit of the memory cgroup and its ancestors.", &P::cgroup_limit},
    ProcessField{"host_pressure_some", kShare, kGauge,
                 "Share of 10 s in which a task of the host waited for memory.",
                 &P::host_pressure_some},
    ProcessField{"host_pressure_full", kShare, kGauge,
                 "Share of 10 s in which all tasks of the host waited for memory.",
                 &P::host_pressure_full},
    ProcessField{"host_stalled_some", kTime, kCounter,
                 "Time in which a task of the host waited for memory.", &P::host_stalled_some},
    ProcessField{"host_stalled_full", kTime, kCounter,
                 "Time in which all tasks of the host waited for memory.", &P::host_stalled_full},
    ProcessField{"cgroup_pressure_some", kShare, kGauge,
                 "Share of 10 s in which a task of the cgroup waited for memory.",
                 &P::cgroup_pressure_some},
    ProcessField{"cgroup_pressure_full", kShare, kGauge,
                 "Share of 10 s in which all tasks of the cgroup waited for memory.",
                 &P::cgroup_pressure_full},
    ProcessField{"cgroup_stalled_some", kTime, kCounter,
                 "Time in which a task of the cgroup waited for memory.", &P::cgroup_stalled_some},
    ProcessField{"cgroup_stalled_full", kTime, kCounter,
                 "Time in which all tasks of the cgroup waited for memory.",
                 &P::cgroup_stalled_full},
    ProcessField{"model_file", kBytes, kGauge, "Of the model's files.", &P::model_file},
    ProcessField{"model_file_cached", kBytes, kGauge, "Of the model's files, in the page cache.",
                 &P::model_file_cached},
};

P::Figure sum_of(P::Figure sum, P::Figure more) {
  return sum && more ? checked_add<std::uint64_t>(*sum, *more) : std::nullopt;
}

// One file that cannot be asked makes the sum unknown, and not less.
void add_files(P& figures, const std::vector<std::filesystem::path>& files) {
  if (files.empty()) return;
  figures.model_file = figures.model_file_cached = 0;
  for (const std::filesystem::path& path : files) {
    const os::Opened file = os::open_read(path);
    const os::FileFacts facts =
        file.error == 0 ? os::facts(file.descriptor.get()) : os::FileFacts();
    const bool known = file.error == 0 && facts.error == 0 && facts.regular;
    figures.model_file = sum_of(figures.model_file, known ? P::Figure(facts.bytes) : std::nullopt);
    figures.model_file_cached =
        sum_of(figures.model_file_cached,
               known ? os::cached_file_bytes(file.descriptor.get(), 0, facts.bytes) : std::nullopt);
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
  add_files(figures, options.model_files);
  return figures;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
