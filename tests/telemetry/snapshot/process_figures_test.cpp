#include "tapedeck/telemetry/snapshot/process_figures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
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

TEST(ProcessFields, TellWhatIsUnknown) {
  for (const ProcessField& field : process_fields()) {
    EXPECT_EQ(field.of(ProcessFigures{}), std::nullopt) << field.name;
  }
}

/// A host whose files the test writes.
class FixtureHost : public ::testing::Test {
 protected:
  void proc(const std::string& file, const std::string& text) { root_.write("proc/" + file, text); }
  void group(const std::string& file, const std::string& text) {
    root_.write("sys/fs/cgroup/" + file, text);
  }
  [[nodiscard]] ProcessFigures figures() const {
    return process_figures({.roots = {.proc = root_ / "proc", .sys = root_ / "sys"}});
  }

  TempFolder root_;
};

TEST_F(FixtureHost, HasNothingToTellWithoutFiles) {
  const ProcessFigures now = figures();
  for (const ProcessField& field : process_fields()) {
    const bool asked_by_call = std::string(field.name).ends_with("_faults");
    EXPECT_EQ(field.of(now).has_value(), asked_by_call) << field.name;
  }
}

TEST_F(FixtureHost, TellsTheStatus) {
  proc("self/status",
       "Name:\tengine\nVmHWM:\t    2172 kB\nVmRSS:\t 5 kB\nRssAnon:\t     152 kB\n"
       "RssFile:\t    2020 kB\nRssShmem:\t       7 kB\nVmSwap:\t      11 kB\n"
       "HugetlbPages:\t    4096 kB\n");
  proc("self/smaps_rollup",
       "55fb99f3d000-7ffd07415000 ---p 00000000 00:00 0   [rollup]\nRss:   1692 kB\n"
       "AnonHugePages:      2048 kB\n");
  const ProcessFigures now = figures();
  EXPECT_EQ(now.rss_peak, 2172_KiB);
  EXPECT_EQ(now.rss_anon, 152_KiB);
  EXPECT_EQ(now.rss_file, 2020_KiB);
  EXPECT_EQ(now.rss_shmem, 7_KiB);
  EXPECT_EQ(now.swapped, 11_KiB);
  EXPECT_EQ(now.hugetlb, 4_MiB);
  EXPECT_EQ(now.anon_huge, 2_MiB);
}

constexpr const char* kPressure =
    "some avg10=12.34 avg60=0.50 avg300=0.00 total=11938\n"
    "full avg10=100.00 avg60=0.01 avg300=0.00 total=18446744073709551615\n";

TEST_F(FixtureHost, TellsThePressureOfTheHost) {
  proc("pressure/memory", kPressure);
  const ProcessFigures now = figures();
  EXPECT_EQ(now.host_pressure_some, 1234U);
  EXPECT_EQ(now.host_pressure_full, 10'000U);
  EXPECT_EQ(now.host_stalled_some, 11'938U);
  EXPECT_EQ(now.host_stalled_full, ~std::uint64_t{0});
  EXPECT_EQ(now.cgroup_pressure_some, std::nullopt);
}

TEST_F(FixtureHost, DoesNotMakeUpPressure) {
  for (const char* text :
       {"", "some", "some ", "some avg10", "some avg10=", "some avg10=. total=", "some avg10=1",
        "some avg10=1.2 total=-1", "some avg10=1.234 total=x", "some avg10=-1.00",
        "some avg10=1e9.00", "some avg10=100.01 total=18446744073709551616",
        "some avg10=99999999999999999999999.00", "some avg10=1x.00",
        "some avg10=1.x0 total=", "avg10=1.00 total=5", "somewhat avg10=1.00 total=5\n"}) {
    proc("pressure/memory", text);
    const ProcessFigures now = figures();
    EXPECT_EQ(now.host_pressure_some, std::nullopt) << text;
    EXPECT_EQ(now.host_stalled_some, std::nullopt) << text;
    EXPECT_EQ(now.host_stalled_full, std::nullopt) << text;
  }
  proc("pressure/memory",
       "full avg10=0.07 avg60=0.00 avg300=0.00 total=3");  // kernels without some
  EXPECT_EQ(figures().host_pressure_full, 7U);
  EXPECT_EQ(figures().host_stalled_full, 3U);
}

TEST_F(FixtureHost, TellsItsCgroupOfVersion2) {
  proc("self/cgroup", "0::/a/b\n");
  group("a/b/memory.current", "1000\n");
  group("a/b/memory.max", "12000\n");
  group("a/b/memory.pressure", kPressure);
  group("a/memory.current", "5000\n");
  group("a/memory.max", "9000\n");
  const ProcessFigures now = figures();
  EXPECT_EQ(now.cgroup_current, 1000U);
  EXPECT_EQ(now.cgroup_limit, 9000U);  // the parent's binds, too
  EXPECT_EQ(now.cgroup_pressure_some, 1234U);
  EXPECT_EQ(now.cgroup_pressure_full, 10'000U);
  EXPECT_EQ(now.cgroup_stalled_some, 11'938U);
  EXPECT_EQ(now.cgroup_stalled_full, ~std::uint64_t{0});
  EXPECT_EQ(now.host_pressure_some, std::nullopt);
}

TEST_F(FixtureHost, TellsItsCgroupOfVersion1) {
  proc("self/cgroup", "4:memory:/a\n0::/\n");
  group("memory/a/memory.usage_in_bytes", "1000\n");
  group("memory/a/memory.limit_in_bytes", "8000\n");
  group("memory/a/memory.stat", "hierarchical_memory_limit 7000\n");
  const ProcessFigures now = figures();
  EXPECT_EQ(now.cgroup_current, 1000U);
  EXPECT_EQ(now.cgroup_limit, 7000U);
}

TEST_F(FixtureHost, CountsTheModelsFiles) {
  const auto first = root_.write("a.gguf", std::string(10'000, 'a'));
  const auto second = root_.write("b.gguf", std::string(500, 'b'));
  const ProcessFigures now = process_figures({.model_files = {first, second}});
  EXPECT_EQ(now.model_file, 10'500U);
  if (!now.model_file_cached) GTEST_SKIP() << "this kernel does not tell of the page cache";
  EXPECT_EQ(now.model_file_cached, 10'500U);  // just written
}

TEST_F(FixtureHost, KnowsNoSumWithAFileThatIsNotThere) {
  const auto first = root_.write("a.gguf", std::string(10'000, 'a'));
  for (const auto& other : {root_ / "nowhere", root_.path()}) {
    const ProcessFigures now = process_figures({.model_files = {first, other}});
    EXPECT_EQ(now.model_file, std::nullopt);
    EXPECT_EQ(now.model_file_cached, std::nullopt);
  }
}

TEST(ProcessFiguresOfThisProcess, AreThoseOfTheKernel) {
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

TEST(ProcessFiguresOfThisProcess, AreUnknownWhereNothingCanBeRead) {
  for (std::uint64_t k = 1;; ++k) {
    const os::InjectFault fault(k, EMFILE);
    static_cast<void>(process_figures());
    if (!os::InjectFault::fired()) break;
    EXPECT_LT(k, 1000U);
  }
}

}  // namespace
}  // namespace tapedeck::tests
