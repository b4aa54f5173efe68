// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/snapshot/process_figures.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "os/faults.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

using Figure = ProcessFigures::Figure;

constexpr std::size_t kFigures = sizeof(ProcessFigures) / sizeof(Figure);
static_assert(kFigures * sizeof(Figure) == sizeof(ProcessFigures), "all of it are figures");
static_assert(std::is_trivially_copyable_v<ProcessFigures>);

TEST(ProcessFields, HaveARowForEveryFigure) {
  std::array<Figure, kFigures> numbers;
  for (std::size_t i = 0; i < kFigures; ++i) numbers[i] = 1000 + i;
  ProcessFigures figures;
  std::memcpy(static_cast<void*>(&figures), numbers.data(), sizeof figures);
  std::set<std::uint64_t> told;
  for (const ProcessField& field : process_fields()) told.insert(field.of(figures).value_or(0));
  EXPECT_EQ(process_fields().size(), kFigures);
  EXPECT_EQ(told.size(), kFigures);
  EXPECT_EQ(*told.begin(), 1000U);
}

using Files = std::map<std::string, std::string>;
using Known = std::map<std::string, std::uint64_t>;

/// The figures that are known on a host that has only these files. Page faults come from a system
/// call.
Known known_with(const Files& files) {
  const TempFolder root;
  for (const auto& [name, text] : files) root.write(name, text);
  const ProcessFigures now =
      process_figures({.roots = {.proc = root / "proc", .sys = root / "sys"}});
  Known known;
  for (const ProcessField& field : process_fields()) {
    if (const Figure figure = field.of(now)) known[field.name] = *figure;
  }
  EXPECT_EQ(known.erase("minor_faults") + known.erase("major_faults"), 2U);
  return known;
}

constexpr const char* kPressure =
    "some avg10=12.34 avg60=0.50 avg300=0.00 total=11938\n"
    "full avg10=100.00 avg60=0.01 avg300=0.00 total=18446744073709551615\n";

TEST(ProcessFigures, AreWhatTheKernelsFilesTell) {
  EXPECT_EQ(known_with({}), Known());
  EXPECT_EQ(known_with({{"proc/self/status",
                         "Name:\tengine\nVmHWM:\t    2172 kB\nVmRSS:\t 5 kB\n"
                         "RssAnon:\t     152 kB\nRssFile:\t    2020 kB\nRssShmem:\t       7 kB\n"
                         "VmSwap:\t      11 kB\nHugetlbPages:\t    4096 kB\n"},
                        {"proc/self/smaps_rollup",
                         "55fb99f3d000-7ffd07415000 ---p 00000000 00:00 0   [rollup]\n"
                         "Rss:   1692 kB\nAnonHugePages:      2048 kB\n"}}),
            (Known{{"rss_peak", 2172_KiB},
                   {"rss_anon", 152_KiB},
                   {"rss_file", 2020_KiB},
                   {"rss_shmem", 7_KiB},
                   {"swapped", 11_KiB},
                   {"hugetlb", 4_MiB},
                   {"anon_huge", 2_MiB}}));
  EXPECT_EQ(known_with({{"proc/pressure/memory", kPressure}}),
            (Known{{"host_pressure_some", 1234},
                   {"host_pressure_full", 10'000},
                   {"host_stalled_some", 11'938},
                   {"host_stalled_full", ~std::uint64_t{0}}}));
  // Kernels that lack some of the files.
  EXPECT_EQ(
      known_with({{"proc/pressure/memory", "full avg10=0.07 avg60=0.00 avg300=0.00 total=3"}}),
      (Known{{"host_pressure_full", 7}, {"host_stalled_full", 3}}));
  // With cgroups of version 2, the parent's limit applies too.
  EXPECT_EQ(known_with({{"proc/self/cgroup", "0::/a/b\n"},
                        {"sys/fs/cgroup/a/b/memory.current", "1000\n"},
                        {"sys/fs/cgroup/a/b/memory.max", "12000\n"},
                        {"sys/fs/cgroup/a/b/memory.pressure", kPressure},
                        {"sys/fs/cgroup/a/memory.current", "5000\n"},
                        {"sys/fs/cgroup/a/memory.max", "9000\n"}}),
            (Known{{"cgroup_current", 1000},
                   {"cgroup_limit", 9000},
                   {"cgroup_pressure_some", 1234},
                   {"cgroup_pressure_full", 10'000},
                   {"cgroup_stalled_some", 11'938},
                   {"cgroup_stalled_full", ~std::uint64_t{0}}}));
  EXPECT_EQ(
      known_with({{"proc/self/cgroup", "4:memory:/a\n0::/\n"},
                  {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1000\n"},
                  {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "8000\n"},
                  {"sys/fs/cgroup/memory/a/memory.stat", "hierarchical_memory_limit 7000\n"}}),
      (Known{{"cgroup_current", 1000}, {"cgroup_limit", 7000}}));
}

TEST(ProcessFigures, DoNotMakeUpPressure) {
  for (const char* text :
       {"", "some", "some ", "some avg10", "some avg10=", "some avg10=. total=", "some avg10=1",
        "some avg10=1.2 total=-1", "some avg10=1.234 total=x", "some avg10=-1.00",
        "some avg10=1e9.00", "some avg10=100.01 total=18446744073709551616",
        "some avg10=99999999999999999999999.00", "some avg10=1x.00",
        "some avg10=1.x0 total=", "avg10=1.00 total=5", "somewhat avg10=1.00 total=5\n"}) {
    EXPECT_EQ(known_with({{"proc/pressure/memory", text}}), Known()) << text;
  }
}

TEST(ProcessFigures, CountTheModelsFilesUnlessOneIsNotThere) {
  const TempFolder folder;
  const auto first = folder.write("a.gguf", std::string(10'000, 'a'));
  const auto second = folder.write("b.gguf", std::string(500, 'b'));
  for (const auto& other : {folder / "nowhere", folder.path()}) {
    const ProcessFigures now = process_figures({.model_files = {first, other, second}});
    EXPECT_EQ(now.model_file, std::nullopt);
    EXPECT_EQ(now.model_file_cached, std::nullopt);
  }
  const ProcessFigures now = process_figures({.model_files = {first, second}});
  EXPECT_EQ(now.model_file, 10'500U);
  if (!now.model_file_cached) GTEST_SKIP() << "this kernel does not report the page cache";
  EXPECT_EQ(now.model_file_cached, 10'500U);  // just written
}

TEST(ProcessFigures, AreThoseOfThisProcess) {
  constexpr std::size_t kBytes = 16_MiB;
  const ProcessFigures before = process_figures();
  void* const at =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  std::memset(at, 1, kBytes);
  const ProcessFigures now = process_figures();
  ::munmap(at, kBytes);
  ASSERT_TRUE(before.rss_anon && now.rss_anon && now.rss_peak && now.minor_faults);
  EXPECT_GE(*now.rss_anon, *before.rss_anon + kBytes * 9 / 10);
  EXPECT_GE(*now.rss_peak, *now.rss_anon * 9 / 10);  // the kernel counts in batches
  EXPECT_GT(*now.minor_faults, *before.minor_faults);
  EXPECT_EQ(now.swapped.has_value(),
            text_of("/proc/self/status").find("VmSwap:") != std::string::npos);
  EXPECT_EQ(now.host_stalled_some.has_value(),
            text_of("/proc/pressure/memory").find("some ") != std::string::npos);
}

TEST(ProcessFigures, AreUnknownWhereNothingCanBeRead) {
  for (std::uint64_t k = 1;; ++k) {
    const os::InjectFault fault(k, EMFILE);
    static_cast<void>(process_figures());
    if (!os::InjectFault::fired()) break;
    EXPECT_LT(k, 1000U);
  }
}

}  // namespace
}  // namespace tapedeck::tests
