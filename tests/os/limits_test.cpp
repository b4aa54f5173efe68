// SPDX-License-Identifier: Apache-2.0
#include "os/limits.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/faults.hpp"
#include "os/kept_pages.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

/// The files of a host with 8 GiB available, and the limit that applies.
struct OddHost {
  const char* what;
  const char* groups;  ///< /proc/self/cgroup
  std::map<std::string, std::string> files;
  std::size_t available;
  const char* limit;
};

// Complete hosts are tested in fit/budget_test.cpp from records; these are cases that the records
// lack.
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
    {"clean file pages, active or not, are droppable",
     "0::/a\n",
     {{"a/memory.max", "1073741824\n"},
      {"a/memory.current", "838860800\n"},
      {"a/memory.stat", "inactive_file 104857600\nactive_file 629145600\nunevictable 52428800\n"}},
     924_MiB,
     "memory cgroup /a, memory.max"},
    {"file pages that wait for a disk are not",
     "0::/a\n",
     {{"a/memory.max", "1073741824\n"},
      {"a/memory.current", "838860800\n"},
      {"a/memory.stat",
       "file_dirty 104857600\nfile_writeback 52428800\ninactive_file 209715200\n"
       "active_file 524288000\n"}},
     774_MiB,
     "memory cgroup /a, memory.max"},
    {"version 1 counts those of the groups below, too",
     "4:memory:/a\n",
     {{"memory/a/memory.limit_in_bytes", "1073741824\n"},
      {"memory/a/memory.usage_in_bytes", "838860800\n"},
      {"memory/a/memory.stat",
       "inactive_file 1\nactive_file 1\ndirty 1\ntotal_dirty 104857600\n"
       "total_writeback 0\ntotal_inactive_file 0\ntotal_active_file 629145600\n"}},
     724_MiB,
     "memory cgroup /a, memory.limit_in_bytes"},
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
    // A container may see its path on the host, although its own group is mounted at the root.
    {"a container's own limit is at the root",
     "0::/docker/0123456789abcdef\n",
     {{"memory.max", "1073741824"}, {"memory.current", "268435456"}},
     768_MiB,
     "memory cgroup /, memory.max"},
    // A cgroup namespace shows a group outside of it like this.
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
    for (const auto& [file, text] : host.files) root.write("sys/fs/cgroup/" + file, text);
    const auto budget = os::memory_budget({.proc = root / "proc", .sys = root / "sys"});
    ASSERT_TRUE(budget);
    EXPECT_EQ(budget->available, host.available);
    EXPECT_EQ(budget->limit, host.limit);
  }
}

/// A host with 8 GiB available and a group that holds 800 MiB of 1 GiB, 600 of them file pages.
/// Weights of this process map some of them.
struct KeptCase {
  const char* what;
  std::size_t kept;
  const char* status;  ///< /proc/self/status
  const char* mapped;  ///< The field of memory.stat.
  std::size_t available;
};

TEST(MemoryBudget, PagesOfMappedWeightsAreNotDroppable) {
  const KeptCase cases[] = {
      {"nothing is mapped", 0, "RssFile: 614400 kB\n", "file_mapped 629145600\n", 824_MiB},
      {"all is mapped", 600_MiB, "RssFile: 614400 kB\n", "file_mapped 629145600\n", 224_MiB},
      {"part of it was brought in", 600_MiB, "RssFile: 204800 kB\n", "file_mapped 629145600\n",
       624_MiB},
      {"another group is charged for most", 600_MiB, "RssFile: 614400 kB\n",
       "file_mapped 104857600\n", 724_MiB},
      {"what was brought in is unknown", 300_MiB, "", "file_mapped 629145600\n", 524_MiB},
  };
  for (const KeptCase& one : cases) {
    SCOPED_TRACE(one.what);
    const TempFolder root;
    root.write("proc/meminfo", "MemAvailable: 8388608 kB\nMapped: 1048576 kB\n");
    root.write("proc/self/cgroup", "0::/a\n");
    root.write("proc/self/status", one.status);
    root.write("sys/fs/cgroup/a/memory.max", "1073741824\n");
    root.write("sys/fs/cgroup/a/memory.current", "838860800\n");
    root.write("sys/fs/cgroup/a/memory.stat",
               std::string("inactive_file 314572800\nactive_file 314572800\n") + one.mapped);
    const os::KeptPages kept(one.kept);
    const KernelRoots roots = {.proc = root / "proc", .sys = root / "sys"};
    EXPECT_EQ(os::memory_budget(roots)->available, one.available);
    const std::size_t on_host = os::memory_limits(roots).front().available();
    EXPECT_EQ(on_host, 8_GiB - os::kept_bytes(roots));
  }
}

TEST(MemoryBudget, CountsAMappingOnceHoweverItIsMoved) {
  const TempFolder none;
  const KernelRoots roots = {.proc = none.path()};
  os::KeptPages first(3);
  os::KeptPages second(std::move(first));
  EXPECT_EQ(os::kept_bytes(roots), 3U);
  first = os::KeptPages(5);
  EXPECT_EQ(os::kept_bytes(roots), 8U);
  second = {};
  EXPECT_EQ(os::kept_bytes(roots), 5U);
  first = {};
  EXPECT_EQ(os::kept_bytes(roots), 0U);
}

TEST(MemoryBudget, IsUnknownWithoutProc) {
  const TempFolder empty;
  EXPECT_FALSE(os::memory_budget({.proc = empty.path(), .sys = empty.path()}));
}

// A caller that fills addresses that it already has needs no more addresses.
TEST(MemoryBudget, LimitsOfAddressesDoNotCount) {
  const TempFolder root;
  root.write("meminfo", "MemAvailable: 8388608 kB\n");
  root.write("self/limits", "Max address space    1024   1024   bytes\n");
  const KernelRoots roots = {.proc = root.path(), .sys = root.path()};
  EXPECT_EQ(os::memory_budget(roots)->limit, "MemAvailable");
  EXPECT_EQ(os::memory_limits(roots).back().name, "RLIMIT_AS");
}

TEST(MemlockLimit, IsWhatIsLeftOfIt) {
  const TempFolder root;
  const KernelRoots roots = {.proc = root.path()};
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

// The numbers of nodes may have gaps.
TEST(NumaNodes, AreThoseOnline) {
  const TempFolder root;
  const KernelRoots roots = {.proc = root.path(), .sys = root.path()};
  EXPECT_TRUE(os::numa_nodes(roots).empty());
  root.write("devices/system/node/online", "0,2-3,9\n");
  for (const char* id : {"0", "1", "2", "3"}) {
    root.write(std::string("devices/system/node/node") + id + "/meminfo",
               std::string("Node ") + id + " MemTotal:  8 kB\nNode " + id + " MemFree: 4 kB\n");
  }
  root.write("self/status", "Mems_allowed_list:\t1-2\n");
  const std::vector<NumaNode> nodes = os::numa_nodes(roots);
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

}  // namespace
}  // namespace tapedeck::tests
