// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/budget.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "os/child.hpp"
#include "os/memory_cgroup.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// The files of a host, from a record made with `tail -n +1 FILE...`: the text of each file follows
/// its name.
class RecordedHost {
 public:
  explicit RecordedHost(const std::string& record) {
    std::ifstream in(source_path("fit/fixtures/" + record + ".tree"));
    std::string file;
    std::string text;
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with("==> ")) {
        text += line + "\n";
        continue;
      }
      if (!file.empty()) folder_.write(file, text);
      file = line.substr(4, line.size() - 8);
      text.clear();
    }
    folder_.write(file, text);
  }

  void write(const std::string& file, const std::string& text) { folder_.write(file, text); }
  void remove(const std::string& file) { std::filesystem::remove(folder_ / file); }

  [[nodiscard]] HostBudget budget() const {
    return host_budget({.proc = folder_ / "proc", .sys = folder_ / "sys"});
  }

 private:
  TempFolder folder_;
};

/// The names of all limits; the first one is the tightest.
std::vector<std::string> limits_of(const HostBudget& budget) {
  std::vector<std::string> all;
  for (const MemoryLimit& limit : budget.limits) all.push_back(limit.name);
  EXPECT_EQ(budget.limit, all.front());
  return all;
}

const std::string kService = "memory cgroup /system.slice/llm.slice/llm-engine.service, ";

TEST(HostBudget, OfASystemdServiceIsWhereItWouldBeThrottled) {
  const HostBudget budget = RecordedHost("systemd_v2").budget();
  EXPECT_EQ(budget.available, 10_GiB);  // 12 high - (5 - 3 of file pages)
  EXPECT_THAT(limits_of(budget),
              ElementsAre(kService + "memory.high", kService + "memory.max",
                          "memory cgroup /system.slice/llm.slice, memory.max", "MemAvailable"));
  EXPECT_EQ(budget.limits[0].limit, 12_GiB);
  EXPECT_EQ(budget.limits[0].used, 2_GiB);
  EXPECT_EQ(budget.limits[1].available(), 14_GiB);
  EXPECT_EQ(budget.limits[2].available(), 14_GiB);  // 20 - (10 - 4)
  EXPECT_EQ(budget.limits[3].available(), 32_GiB);
  EXPECT_EQ(budget.limits[3].limit, 65'770'472_KiB);
}

// Each limit of the chain applies if it is the tightest.
TEST(HostBudget, EveryAncestorBinds) {
  RecordedHost host("systemd_v2");
  host.write("sys/fs/cgroup/system.slice/llm.slice/memory.max", "8589934592\n");
  EXPECT_EQ(host.budget().available, 2_GiB);
  EXPECT_EQ(host.budget().limit, "memory cgroup /system.slice/llm.slice, memory.max");
  host.write("sys/fs/cgroup/system.slice/memory.high", "21474836480\n");
  EXPECT_EQ(host.budget().available, 0U);  // 20 - (30 - 10), exactly at its limit
  EXPECT_EQ(host.budget().limit, "memory cgroup /system.slice, memory.high");
  host.write("sys/fs/cgroup/system.slice/memory.high", "5\n");
  EXPECT_EQ(host.budget().available, 0U);  // over its limit
}

TEST(HostBudget, OfADockerContainerIsAtTheRootOfVersion1) {
  const HostBudget budget = RecordedHost("docker_v1").budget();
  EXPECT_EQ(budget.available, 6_GiB + 1_MiB);  // 8 - (3 - 1 of file pages)
  EXPECT_THAT(limits_of(budget),
              ElementsAre("memory cgroup /, memory.limit_in_bytes", "MemAvailable"));
  ASSERT_TRUE(budget.lockable);
  EXPECT_EQ(budget.lockable->name, "RLIMIT_MEMLOCK");
  EXPECT_EQ(budget.lockable->limit, 64_KiB);
  EXPECT_EQ(budget.lockable->available(), 48_KiB);
}

// The group's own file has no limit, and the one of the job above it is not visible.
TEST(HostBudget, OfASlurmStepIsTheHierarchysLeast) {
  const HostBudget budget = RecordedHost("slurm_v1").budget();
  EXPECT_EQ(budget.available, 2561_MiB);  // 4 - (2 - 0.5 of file pages)
  EXPECT_THAT(limits_of(budget),
              ElementsAre("memory cgroup /, hierarchical_memory_limit", "MemAvailable"));
}

TEST(HostBudget, OfAKubernetesPodIsItsNumaNode) {
  RecordedHost host("kubernetes_v2");
  HostBudget budget = host.budget();
  EXPECT_EQ(budget.available, 40_GiB + 13'497'980_KiB);  // free, and file pages
  EXPECT_EQ(budget.limit, "cpuset, NUMA nodes 1");
  ASSERT_EQ(budget.nodes.size(), 2U);
  EXPECT_EQ(budget.nodes[0].id, 0U);
  EXPECT_EQ(budget.nodes[0].free, 4'061'728_KiB);
  EXPECT_FALSE(budget.nodes[0].allowed);
  EXPECT_EQ(budget.nodes[1].total, 131'960'708_KiB);
  EXPECT_EQ(budget.nodes[1].reclaimable, 13'497'980_KiB);
  EXPECT_TRUE(budget.nodes[1].allowed);
  EXPECT_FALSE(budget.lockable);  // unlimited

  host.write("proc/self/status", "Mems_allowed_list:\t0-1\n");
  budget = host.budget();
  EXPECT_EQ(budget.available, 58_GiB);  // 64 - (10 - 4)
  EXPECT_EQ(budget.limit,
            "memory cgroup /kubepods.slice/kubepods-burstable.slice/"
            "kubepods-burstable-pod0a1b2c3d.slice, memory.max");
}

TEST(HostBudget, InsideACgroupNamespaceIsThatOfTheRoot) {
  const HostBudget budget = RecordedHost("kubernetes_v2_namespace").budget();
  EXPECT_EQ(budget.available, 23_GiB);  // 24 - (4 - 3)
  EXPECT_EQ(budget.limit, "memory cgroup /, memory.max");
  EXPECT_FALSE(budget.lockable);  // CAP_IPC_LOCK
  EXPECT_THAT(budget.nodes, IsEmpty());
}

TEST(HostBudget, OfAHybridHostHasTheChainOfVersion1) {
  RecordedHost host("hybrid");
  HostBudget budget = host.budget();
  EXPECT_EQ(budget.available, 17_GiB + 1_MiB);  // 24 - (9 - 2)
  EXPECT_EQ(budget.limit, "memory cgroup /user.slice, memory.limit_in_bytes");
  // The additions of version 2.
  const std::string session = "user.slice/user-1000.slice/session-3.scope";
  host.write("sys/fs/cgroup/unified/" + session + "/memory.max", "3221225472");
  host.write("sys/fs/cgroup/unified/" + session + "/memory.current", "1073741824");
  budget = host.budget();
  EXPECT_EQ(budget.available, 2_GiB);
  EXPECT_EQ(budget.limit, "memory cgroup /" + session + ", memory.max");
}

TEST(HostBudget, LimitsOfTheProcessBind) {
  RecordedHost host("ulimit");
  HostBudget budget = host.budget();
  EXPECT_EQ(budget.available, 6_GiB);
  EXPECT_THAT(limits_of(budget), ElementsAre("RLIMIT_DATA", "RLIMIT_AS", "MemAvailable"));
  EXPECT_EQ(budget.limits[1].available(), 12_GiB);
  EXPECT_EQ(budget.limits[1].used, 4_GiB);
  EXPECT_EQ(budget.lockable->available(), 63_MiB);

  host.write("proc/sys/vm/overcommit_memory", "2\n");
  budget = host.budget();
  EXPECT_EQ(budget.available, 2_GiB);  // 20 - 18 committed
  EXPECT_EQ(budget.limit, "CommitLimit");
}

// Only the limits of what is mapped have less left.
TEST(HostBudget, AddressesCountAgainstLimitsOfWhatIsMapped) {
  RecordedHost host("ulimit");
  const HostBudget before = host.budget();
  EXPECT_EQ(before.after_mapping(0).available, 6_GiB);
  const HostBudget after = before.after_mapping(2_GiB);
  EXPECT_EQ(after.available, 4_GiB);
  EXPECT_EQ(after.limit, "RLIMIT_DATA");
  EXPECT_EQ(after.limits[1].available(), 10_GiB);  // RLIMIT_AS
  EXPECT_EQ(after.limits[2].available(), before.limits[2].available());
  EXPECT_EQ(before.after_mapping(UINT64_MAX).available, 0U);

  host.write("proc/sys/vm/overcommit_memory", "2\n");
  EXPECT_EQ(host.budget().after_mapping(1_GiB).available, 1_GiB);  // CommitLimit

  host.remove("proc/self/limits");
  host.write("proc/sys/vm/overcommit_memory", "0\n");
  EXPECT_EQ(host.budget().after_mapping(UINT64_MAX).available, 32_GiB);
}

TEST(HostBudget, WhatIsGarbledBoundsNothing) {
  const HostBudget budget = RecordedHost("garbled").budget();
  EXPECT_EQ(budget.available, 32_GiB);
  EXPECT_THAT(limits_of(budget), ElementsAre("MemAvailable"));
  EXPECT_FALSE(budget.lockable);
  EXPECT_THAT(budget.nodes, IsEmpty());
}

TEST(HostBudget, WhatIsMissingBoundsNothing) {
  RecordedHost host("systemd_v2");
  for (const char* file : {"proc/self/cgroup", "proc/self/limits", "proc/self/status",
                           "proc/sys/vm/overcommit_memory", "sys/devices/system/node/online"}) {
    host.remove(file);
  }
  EXPECT_THAT(limits_of(host.budget()), ElementsAre("MemAvailable"));
}

TEST(HostBudget, WithoutMemAvailableIsAnErrorThatNamesTheFile) {
  RecordedHost host("systemd_v2");
  for (const char* text : {"", "MemTotal: 5 kB\n", "MemAvailable: lots\n"}) {
    host.write("proc/meminfo", text);
    EXPECT_THROW(static_cast<void>(host.budget()), SystemError);
  }
  host.remove("proc/meminfo");
  const auto error = thrown<SystemError>([&] { static_cast<void>(host.budget()); });
  EXPECT_TRUE(error.path().ends_with("/proc/meminfo"));
  EXPECT_EQ(error.number(), ENODATA);
}

TEST(HostBudgetOfThisHost, IsNoMoreThanItHas) {
  const HostBudget budget = host_budget();
  EXPECT_GT(budget.available, 0U);
  EXPECT_LE(budget.available, number_of("/proc/meminfo", "MemTotal:") * 1024);
  EXPECT_EQ(budget.limit, budget.limits.front().name);
  EXPECT_TRUE(std::any_of(budget.limits.begin(), budget.limits.end(),
                          [](const MemoryLimit& limit) { return limit.name == "MemAvailable"; }));
  for (const NumaNode& node : budget.nodes) {
    EXPECT_GT(node.total, 0U);
    EXPECT_LE(node.free + node.reclaimable, node.total);
  }
}

TEST(HostBudgetOfThisHost, FollowsRlimits) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs all addresses";
  in_child([] {
    const rlimit lock = {.rlim_cur = 64_KiB, .rlim_max = 64_KiB};
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &lock), 0);
    const std::size_t mapped = number_of("/proc/self/status", "VmSize:") * 1024;
    const rlimit space = {.rlim_cur = mapped + 64_MiB, .rlim_max = RLIM_INFINITY};
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &space), 0);
    const HostBudget budget = host_budget();
    EXPECT_EQ(budget.limit, "RLIMIT_AS");
    EXPECT_LE(budget.available, 64_MiB);
    EXPECT_GT(budget.available, 60_MiB);
    // The kernel refuses to map more than the available bytes, and maps no less.
    const auto can_map = [](std::size_t bytes) {
      void* at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at != MAP_FAILED) ::munmap(at, bytes);
      return at != MAP_FAILED;
    };
    EXPECT_TRUE(can_map(budget.available - 1_MiB));
    EXPECT_FALSE(can_map(budget.available + 4_MiB));
  });
}

/// Checks the budget against the kernel: a child in a group of 64 MiB survives if it uses the
/// available bytes of the budget, and is killed if it uses more.
class BudgetInGroup : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer takes memory of its own";
    if (!group_.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  }

  /// Runs a child that fills the budget plus `more` bytes.
  Ended fill(std::ptrdiff_t more) {
    return Child([&] {
             ASSERT_TRUE(group_.enter());
             const HostBudget budget = host_budget();
             ASSERT_EQ(budget.limit, "memory cgroup " + group_.path() + ", " + group_.limit_file());
             ASSERT_LE(budget.available, 64_MiB);
             ASSERT_GT(budget.available, 48_MiB);
             const auto bytes =
                 static_cast<std::size_t>(static_cast<std::ptrdiff_t>(budget.available) + more);
             void* at =
                 ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             ASSERT_NE(at, MAP_FAILED);
             for (std::size_t page = 0; page < bytes; page += kPage) {
               static_cast<volatile char*>(at)[page] = 1;
             }
             EXPECT_LT(host_budget().available, 8_MiB);
           })
        .wait();
  }

  MemoryCgroup group_{64_MiB};
};

TEST_F(BudgetInGroup, WhatItSaysCanBeFilled) {
  EXPECT_TRUE(passed(fill(-static_cast<std::ptrdiff_t>(2_MiB))));
}

TEST_F(BudgetInGroup, MoreIsKilled) {
  if (number_of("/proc/meminfo", "SwapTotal:") != 0) GTEST_SKIP() << "this host swaps";
  EXPECT_EQ(fill(16_MiB).signal, SIGKILL);
}

// A file that was read is in the page cache and charged to the group, but its pages can be
// reclaimed. Those that were read twice are on the list of active pages.
TEST_F(BudgetInGroup, FilePagesAreCredited) {
  const TempFolder folder;
  const std::string file = folder.write("file", std::string(24_MiB, 'x'));
  in_child([&] {
    const int descriptor = ::open(file.c_str(), O_RDWR);
    ASSERT_EQ(::fsync(descriptor), 0);
    ASSERT_EQ(::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED), 0);
    ASSERT_TRUE(group_.enter());
    const std::uint64_t before = host_budget().available;
    std::vector<char> part(1_MiB);
    for (int round = 0; round < 3; ++round) {
      ASSERT_EQ(::lseek(descriptor, 0, SEEK_SET), 0);
      for (ssize_t got = 1; got > 0;) got = ::read(descriptor, part.data(), part.size());
    }
    ::close(descriptor);
    EXPECT_GT(host_budget().available + 4_MiB, before);
  });
}

}  // namespace
}  // namespace tapedeck::tests
