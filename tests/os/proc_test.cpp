#include "os/proc.hpp"

#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

TEST(ResidentBytes, IsALineOfTheStatus) {
  const TempFolder root;
  root.write("self/status", "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n");
  EXPECT_EQ(os::resident_bytes({.proc = root.path()}), 2_MiB);
  EXPECT_EQ(os::resident_bytes({.proc = root / "nowhere"}), std::nullopt);
  EXPECT_GT(os::resident_bytes(), 100_KiB);
}

TEST(MeminfoBytes, ReadsALine) {
  const TempFolder root;
  root.write("meminfo",
             "MemTotal:       16384 kB\n"
             "MemAvailable:    8192 kB\n"
             "Hugepagesize:       2048 kB\n"
             "HugePages_Free:        3");
  const os::Roots roots = {.proc = root.path()};
  EXPECT_EQ(os::meminfo_bytes("MemTotal", roots), 16_MiB);
  EXPECT_EQ(os::meminfo_bytes("MemAvailable", roots), 8_MiB);
  EXPECT_EQ(os::meminfo_bytes("HugePages_Free", roots), 3_KiB);  // the last, without a newline
  EXPECT_EQ(os::meminfo_bytes("Mem", roots), std::nullopt);      // no field of that whole name
  EXPECT_EQ(os::meminfo_bytes("SwapTotal", roots), std::nullopt);
}

TEST(MeminfoBytes, DoesNotMakeUpNumbers) {
  const TempFolder root;
  const os::Roots roots = {.proc = root.path()};
  EXPECT_EQ(os::meminfo_bytes("MemTotal", roots), std::nullopt);  // no file
  for (const char* text : {"", "\n", "MemTotal:", "MemTotal: kB\n", "MemTotal: -5 kB\n",
                           "MemTotal: 99999999999999999999999 kB\n",
                           "MemTotal: 18446744073709551615 kB\n" /* times 1024 */}) {
    root.write("meminfo", text);
    EXPECT_EQ(os::meminfo_bytes("MemTotal", roots), std::nullopt) << text;
  }
}

// Long files arrive in parts.
TEST(MeminfoBytes, ReadsALongFile) {
  const TempFolder root;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "Field" + std::to_string(i) + ":  " + "1 kB\n";
  root.write("meminfo", text + "MemTotal: 7 kB\n");
  EXPECT_EQ(os::meminfo_bytes("MemTotal", {.proc = root.path()}), 7_KiB);
}

TEST(MeminfoBytes, ReadsTheRealOne) {
  EXPECT_EQ(os::meminfo_bytes("MemTotal"), number_of("/proc/meminfo", "MemTotal:") * 1024);
}

/// What a host with 8 GiB available has in its files, and what bounds it then.
struct OddHost {
  const char* what;
  const char* groups;  ///< /proc/self/cgroup
  std::map<std::string, std::string> files;
  std::size_t available;
  const char* limit;
};

// Whole hosts are tested in plan/budget_test.cpp, from their records; here is what those lack.
const OddHost kOddHosts[] = {
    {"no groups", "", {}, 8_GiB, "MemAvailable"},
    {"a limit above what is available",
     "0::/a\n",
     {{"a/memory.max", "68719476736\n"}, {"a/memory.current", "1073741824\n"}},
     8_GiB,
     "MemAvailable"},
    {"more droppable than used",
     "0::/a\n",
     {{"a/memory.max", "1073741824\n"},
      {"a/memory.current", "1048576\n"},
      {"a/memory.stat", "inactive_file 536870912\n"}},
     1_GiB,
     "memory cgroup /a, memory.max"},
    {"a garbled stat drops nothing",
     "0::/a\n",
     {{"a/memory.max", "1073741824\n"},
      {"a/memory.current", "268435456\n"},
      {"a/memory.stat", "inactive_file x\ninactive_files 5\ninactive_file"}},
     768_MiB,
     "memory cgroup /a, memory.max"},
    {"memory shares its hierarchy",
     "4:cpuset,memory:/a\n",
     {{"memory/a/memory.limit_in_bytes", "1073741824\n"},
      {"memory/a/memory.usage_in_bytes", "0\n"}},
     1_GiB,
     "memory cgroup /a, memory.limit_in_bytes"},
    {"other controllers do not count",
     "4:memory2:/a\n5:cpu,memoryless:/a\n6:name=memory:/a\n",
     {{"memory/a/memory.limit_in_bytes", "1048576\n"}, {"memory/a/memory.usage_in_bytes", "0\n"}},
     8_GiB,
     "MemAvailable"},
    // A container may see its host's path, while its own group is what is mounted at the root.
    {"a container's own limit is at the root",
     "0::/docker/0123456789abcdef\n",
     {{"memory.max", "1073741824"}, {"memory.current", "268435456"}},
     768_MiB,
     "memory cgroup /, memory.max"},
    // A cgroup namespace shows a group that lies outside of it like this.
    {"a group above the root still has the root's limit",
     "0::/../../outside\n",
     {{"memory.max", "1073741824"}, {"memory.current", "0"}},
     1_GiB,
     "memory cgroup /, memory.max"},
    {"any name",
     "0::/a:b/c d/e-f.slice\n",
     {{"a:b/c d/e-f.slice/memory.max", "1073741824"}, {"a:b/c d/e-f.slice/memory.current", "0"}},
     1_GiB,
     "memory cgroup /a:b/c d/e-f.slice, memory.max"},
    {"no usage", "0::/a\n", {{"a/memory.max", "1073741824"}}, 8_GiB, "MemAvailable"},
    {"no limit", "0::/a\n", {{"a/memory.current", "0"}}, 8_GiB, "MemAvailable"},
    {"an empty limit",
     "0::/a\n",
     {{"a/memory.max", ""}, {"a/memory.high", "\n"}, {"a/memory.current", "0"}},
     8_GiB,
     "MemAvailable"},
    {"garbled lines of groups are skipped",
     "\n:\n::\n0:\n0::\n0::a\nmemory\nmemory:/a\n\n4:memory:/a",
     {{"memory/a/memory.limit_in_bytes", "1073741824"}, {"memory/a/memory.usage_in_bytes", "0"}},
     1_GiB,
     "memory cgroup /a, memory.limit_in_bytes"},
};

TEST(MemoryBudget, OfOddHosts) {
  for (const OddHost& host : kOddHosts) {
    SCOPED_TRACE(host.what);
    const TempFolder root;
    root.write("proc/meminfo", "MemAvailable: 8388608 kB\n");
    root.write("proc/self/cgroup", host.groups);
    for (const auto& [file, text] : host.files) root.write("cgroup/" + file, text);
    const auto budget = os::memory_budget({.proc = root / "proc", .cgroup = root / "cgroup"});
    ASSERT_TRUE(budget);
    EXPECT_EQ(budget->available, host.available);
    EXPECT_EQ(budget->limit, host.limit);
  }
}

TEST(MemoryBudget, IsUnknownWithoutProc) {
  const TempFolder empty;
  EXPECT_FALSE(os::memory_budget({.proc = empty.path(), .cgroup = empty.path()}));
}

// A caller that fills addresses it already has needs no more of them.
TEST(MemoryBudget, LimitsOfAddressesDoNotCount) {
  const TempFolder root;
  root.write("meminfo", "MemAvailable: 8388608 kB\n");
  root.write("self/limits", "Max address space    1024   1024   bytes\n");
  const os::Roots roots = {.proc = root.path(), .cgroup = root.path()};
  EXPECT_EQ(os::memory_budget(roots)->limit, "MemAvailable");
  EXPECT_EQ(os::memory_limits(roots).back().name, "RLIMIT_AS");
}

TEST(MemlockLimit, IsWhatIsLeftOfIt) {
  const TempFolder root;
  const os::Roots roots = {.proc = root.path()};
  EXPECT_FALSE(os::memlock_limit(roots));
  root.write("self/limits", "Max locked memory         8388608      8388608       bytes\n");
  EXPECT_EQ(os::memlock_limit(roots)->available(), 8_MiB);
  root.write("self/status", "VmLck:\t    1024 kB\nCapEff:\t0000000000000000\n");
  EXPECT_EQ(os::memlock_limit(roots)->available(), 7_MiB);
  root.write("self/status", "VmLck:\t    9999 kB\nCapEff:\tffffffffffffbfff\n");
  EXPECT_EQ(os::memlock_limit(roots)->available(), 0U);
  root.write("self/status", "CapEff:\t0000000000004000\n");  // CAP_IPC_LOCK
  EXPECT_FALSE(os::memlock_limit(roots));
}

// Nodes may be numbered with gaps.
TEST(NumaNodes, AreThoseOnline) {
  const TempFolder root;
  const os::Roots roots = {.proc = root.path(), .sys = root.path()};
  EXPECT_TRUE(os::numa_nodes(roots).empty());
  root.write("devices/system/node/online", "0,2-3,9\n");
  for (const char* id : {"0", "1", "2", "3"}) {
    root.write(std::string("devices/system/node/node") + id + "/meminfo",
               std::string("Node ") + id + " MemTotal:  8 kB\nNode " + id + " MemFree: 4 kB\n");
  }
  root.write("self/status", "Mems_allowed_list:\t1-2\n");
  const std::vector<os::NumaNode> nodes = os::numa_nodes(roots);
  ASSERT_EQ(nodes.size(), 3U);  // 1 is not online, 9 has no file
  EXPECT_EQ(nodes[1].id, 2U);
  EXPECT_EQ(nodes[2].id, 3U);
  EXPECT_EQ(nodes[2].total, 8_KiB);
  EXPECT_EQ(nodes[2].free, 4_KiB);
  EXPECT_FALSE(nodes[0].allowed);
  EXPECT_TRUE(nodes[1].allowed);
  EXPECT_FALSE(nodes[2].allowed);
}

TEST(MemoryBudgetOfThisHost, IsKnown) {
  const std::optional<os::Budget> budget = os::memory_budget();
  ASSERT_TRUE(budget);
  EXPECT_GT(budget->available, 0U);
  EXPECT_LE(budget->available, number_of("/proc/meminfo", "MemTotal:") * 1024);
  EXPECT_FALSE(budget->limit.empty());
}

TEST(MemoryBudgetOfThisHost, IsUnknownWhenNothingCanBeRead) {
  const os::InjectFault fault(1, EMFILE);
  EXPECT_FALSE(os::memory_budget());
  EXPECT_STREQ(os::InjectFault::victim(), "open");
}

/// Four pages; the second and the fourth are there.
class Pages : public ::testing::Test {
 protected:
  Pages() : at_(os::reserve(4 * kPage).at) {
    EXPECT_EQ(os::allow_write(at_, 4 * kPage), 0);
    EXPECT_EQ(os::advise(at_, 4 * kPage, os::Advice::no_huge_pages) & ~EINVAL, 0);
    at_[kPage] = at_[3 * kPage] = std::byte{1};
  }
  ~Pages() override { static_cast<void>(os::unmap(at_, 4 * kPage)); }

  std::byte* at_;
};

TEST_F(Pages, PresentBytesCountsPages) {
  if (!os::present_bytes(at_, kPage)) GTEST_SKIP() << "this kernel does not tell";
  EXPECT_EQ(os::present_bytes(at_, 4 * kPage), 2 * kPage);
  EXPECT_EQ(os::present_bytes(at_, kPage), 0U);
  EXPECT_EQ(os::present_bytes(at_ + kPage, kPage), kPage);
  EXPECT_EQ(os::present_bytes(at_ + 2 * kPage, 2 * kPage), kPage);
}

TEST_F(Pages, PresentBytesOfPartsOfPages) {
  if (!os::present_bytes(at_, kPage)) GTEST_SKIP() << "this kernel does not tell";
  EXPECT_EQ(os::present_bytes(at_ + kPage, 1), 1U);
  EXPECT_EQ(os::present_bytes(at_ + kPage + 100, 200), 200U);
  EXPECT_EQ(os::present_bytes(at_ + 100, 200), 0U);
  EXPECT_EQ(os::present_bytes(at_, 0), 0U);
}

// A page that was only read is the kernel's page of zeros; it counts as there, and a page that was
// dropped does not.
TEST_F(Pages, PresentBytesFollowsThePages) {
  if (!os::present_bytes(at_, kPage)) GTEST_SKIP() << "this kernel does not tell";
  ASSERT_EQ(os::advise(at_ + kPage, kPage, os::Advice::drop_pages), 0);
  EXPECT_EQ(os::present_bytes(at_, 4 * kPage), kPage);
}

// More pages than one read of the kernel's table takes.
TEST(PresentBytes, CountsLargeRanges) {
  const std::size_t bytes = 5000 * kPage;
  const os::Mapped mapped = os::reserve(bytes);
  ASSERT_EQ(os::allow_write(mapped.at, bytes), 0);
  static_cast<void>(os::advise(mapped.at, bytes, os::Advice::no_huge_pages));
  for (const std::size_t page : {0U, 4095U, 4096U, 4999U}) mapped.at[page * kPage] = std::byte{1};
  const auto present = os::present_bytes(mapped.at, bytes);
  EXPECT_EQ(present.value_or(4 * kPage), 4 * kPage);
  EXPECT_EQ(os::unmap(mapped.at, bytes), 0);
}

/// A memory file of 5000 pages, mapped; four pages of it were written by somebody.
class CachedPages : public ::testing::Test {
 protected:
  CachedPages() : at_(os::reserve(bytes_).at) {
    EXPECT_EQ(os::map_shared(file_.descriptor.get(), bytes_, os::Access::read, at_).error, 0);
    const std::byte one[] = {std::byte{1}};
    for (const off_t page : {0, 4095, 4096, 4999}) {
      ::lseek(file_.descriptor.get(), page * static_cast<off_t>(kPage), SEEK_SET);
      EXPECT_EQ(os::write_all(file_.descriptor.get(), one).error, 0);
    }
  }
  ~CachedPages() override { static_cast<void>(os::unmap(at_, bytes_)); }

  std::size_t bytes_ = 5000 * kPage;
  os::Opened file_ = os::create_memory_file("test", bytes_, 0);
  std::byte* at_;
};

// They are in RAM, and not in this process's page table.
TEST_F(CachedPages, AreCountedWhoeverBroughtThem) {
  EXPECT_EQ(os::cached_bytes(at_, bytes_), 4 * kPage);
  EXPECT_EQ(os::present_bytes(at_, bytes_).value_or(0), 0U);
  EXPECT_EQ(os::cached_bytes(at_, kPage), kPage);
  EXPECT_EQ(os::cached_bytes(at_ + kPage, 4094 * kPage), 0U);
  EXPECT_EQ(os::cached_bytes(at_, 100), 100U);
  EXPECT_EQ(os::cached_bytes(at_, 0), 0U);
}

TEST_F(CachedPages, AreUnknownWhereTheKernelDoesNotTell) {
  EXPECT_EQ(os::cached_bytes(at_ + 1, kPage), std::nullopt);  // it wants whole pages
  const os::InjectFault fault(1, EPERM);
  EXPECT_EQ(os::cached_bytes(at_, bytes_), std::nullopt);
  EXPECT_STREQ(os::InjectFault::victim(), "mincore");
}

TEST_F(Pages, WhatCannotBeReadIsUnknown) {
  for (const std::uint64_t k : {1U, 2U}) {
    const os::InjectFault fault(k, EACCES);
    EXPECT_EQ(os::present_bytes(at_, kPage), std::nullopt);
    EXPECT_EQ(std::string(os::InjectFault::victim()), k == 1 ? "open" : "pread");
  }
  for (const std::uint64_t k : {1U, 2U, 3U}) {
    const os::InjectFault fault(k, EACCES);
    EXPECT_EQ(os::huge_bytes(at_, kPage), std::nullopt) << k;
  }
}

TEST_F(Pages, HugeBytesOfSmallPagesAreNone) { EXPECT_EQ(os::huge_bytes(at_, 4 * kPage), 0U); }

TEST(HugeBytes, CountTransparentHugePages) {
  const std::size_t huge = os::huge_page_size();
  if (huge == 0) GTEST_SKIP() << "this kernel has no huge pages";
  const os::Mapped mapped = os::reserve(3 * huge);
  const auto first = reinterpret_cast<std::uintptr_t>(mapped.at);
  std::byte* at = mapped.at + (huge - first % huge) % huge;
  ASSERT_EQ(os::allow_write(at, 2 * huge), 0);
  const bool advised = os::advise(at, 2 * huge, os::Advice::huge_pages) == 0;
  at[0] = at[huge] = std::byte{1};
  const std::size_t count = os::huge_bytes(at, 2 * huge).value_or(0);
  const std::size_t present = os::present_bytes(at, 2 * huge).value_or(2 * kPage);
  EXPECT_EQ(os::unmap(mapped.at, 3 * huge), 0);
  if (!advised || present == 2 * kPage) GTEST_SKIP() << "the kernel had no huge page to give";
  EXPECT_EQ(count, present / huge * huge);
}

TEST(PageFaults, AreCounted) {
  const os::FaultCount before = os::page_faults();
  const std::size_t bytes = 64 * kPage;
  const os::Mapped mapped = os::reserve(bytes);
  ASSERT_EQ(os::allow_write(mapped.at, bytes), 0);
  static_cast<void>(os::advise(mapped.at, bytes, os::Advice::no_huge_pages));
  for (std::size_t at = 0; at < bytes; at += kPage) mapped.at[at] = std::byte{1};
  EXPECT_GE(os::page_faults().minor, before.minor + 64);
  EXPECT_EQ(os::unmap(mapped.at, bytes), 0);
}

}  // namespace
}  // namespace tapedeck::tests
