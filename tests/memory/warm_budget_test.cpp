// SPDX-License-Identifier: Apache-2.0
// The limits of a warm: a request for more than is available must be refused before the kernel
// kills a process.
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>

#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "os/fault_in.hpp"
#include "os/huge_page_pool.hpp"
#include "os/limits.hpp"
#include "os/memory_cgroup.hpp"
#include "os/pages.hpp"
#include "os/rights.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

constexpr std::size_t kLimit = 64_MiB;

Block committed(std::size_t bytes) {
  Block block = Block::reserve(bytes, {.huge_pages = HugePages::never, .overcommit = true});
  block.commit(bytes);
  return block;
}

std::size_t host_memory() { return number_of("/proc/meminfo", "MemTotal:") * 1024; }

TEST(WarmBudget, MoreThanTheHostHasIsRefusedAtOnce) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each address";
  if (number_of("/proc/sys/vm/overcommit_memory", "") == 2)
    GTEST_SKIP() << "this host does not overcommit";
  const std::size_t bytes = 2 * host_memory();
  Block block = committed(bytes);
  const WarmResult result = block.warm(0, bytes, {.chunk = 1_MiB});
  EXPECT_FALSE(result);
  EXPECT_EQ(result.end, WarmEnd::over_budget);
  EXPECT_EQ(result.asked, bytes);
  EXPECT_EQ(result.warmed, 0U);  // nothing was filled before
  EXPECT_EQ(result.present.value_or(0), 0U);
  EXPECT_LT(result.available, bytes);
  EXPECT_NE(result.limit, "");
}

/// Runs children inside a group of 64 MiB.
class WarmInGroup : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!group_.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  }

  void in_group(const std::function<void()>& work) const { group_.in_group(work); }

  void expect_over_budget(const WarmResult& result, std::size_t asked) const {
    EXPECT_EQ(result.end, WarmEnd::over_budget);
    EXPECT_EQ(result.asked, asked);
    EXPECT_LT(result.warmed, asked);
    EXPECT_LE(result.available, kLimit);
    EXPECT_EQ(result.limit, group_.limit());
  }

  MemoryCgroup group_{kLimit};
};

TEST_F(WarmInGroup, OverTheLimitIsRefusedInsteadOfKilled) {
  in_group([&] {
    Block block = committed(4 * kLimit);
    const WarmResult result = block.warm(0, block.size(), {.threads = 1, .chunk = 1_MiB});
    expect_over_budget(result, 4 * kLimit);
    EXPECT_EQ(result.warmed, 0U);
  });
}

TEST_F(WarmInGroup, WhatFitsIsWarmedAndNeedsNoBudgetOnceItIsThere) {
  in_group([] {
    Block block = committed(40_MiB);
    EXPECT_TRUE(block.warm(0, block.size(), {.threads = 1, .chunk = 1_MiB}));
    EXPECT_TRUE(block.warm(0, block.size(), {.threads = 1, .chunk = 1_MiB}));
  });
}

// The budget is checked again before each chunk, because other processes may have used it
// meanwhile.
TEST_F(WarmInGroup, ABudgetThatShrinksEndsTheWarm) {
  in_group([&] {
    Block other = committed(36_MiB);
    Block block = committed(40_MiB);
    // Not written, because a sanitizer's shadow memory of written bytes counts in the group too.
    const auto take_the_rest = [&](WarmProgress progress) {
      if (progress.done != 8_MiB) return;
      EXPECT_EQ(os::populate(other.data(), other.size(), os::Access::write), 0);
    };
    const WarmResult result =
        block.warm(0, block.size(), {.threads = 1, .chunk = 4_MiB, .progress = take_the_rest});
    expect_over_budget(result, 40_MiB);
    EXPECT_GE(result.warmed, 8_MiB);
    EXPECT_GE(result.present.value_or(result.warmed), result.warmed);
    EXPECT_LT(result.present.value_or(result.warmed), 40_MiB);
  });
}

TEST_F(WarmInGroup, ATapeSaysWhatItNeededAndWhatBoundsIt) {
  in_group([&] {
    const auto error = thrown<OutOfMemory>([&] {
      const TapeOptions options = {.name = "weights", .block = {.overcommit = true}};
      return Tape::start_warm(4 * kLimit, options, {.threads = 1});
    });
    EXPECT_EQ(error.purpose(), "warming tape weights");
    EXPECT_EQ(error.needed(), 4 * kLimit);
    EXPECT_LE(error.available(), kLimit);
    EXPECT_EQ(error.limit(), group_.limit());
  });
}

// All processes of a host share one physical copy, so a process that opens another's memory needs
// none.
TEST_F(WarmInGroup, MemoryThatAnotherProcessHoldsNeedsNoBudget) {
  Block owner = Block::create_shared(2 * kLimit);
  owner.commit(2 * kLimit);
  Pattern(1).write(owner.data(), 2 * kLimit);  // charged to this process's group
  in_group([&] {
    Block opened = Block::open_shared(owner.descriptor(), false);
    const WarmResult result = opened.warm(0, opened.size(), {.threads = 1, .chunk = 4_MiB});
    EXPECT_EQ(result.end, WarmEnd::complete);
    EXPECT_EQ(result.warmed, opened.size());
    EXPECT_TRUE(Pattern(1).is_at(opened.data(), 1_MiB));
    // Moving it into huge pages would charge it to this group.
    if (!kSanitized) {
      EXPECT_GE(os::memory_budget()->available, kLimit / 2);
    }
  });
}

// To other users, the kernel reports neither which pages of a file are in RAM nor which are
// missing.
TEST_F(WarmInGroup, AFileOfAnotherUserThatIsInThePageCacheNeedsNoBudget) {
  if (!is_root()) GTEST_SKIP() << "only root can give a file to another user";
  const TempFolder folder;
  const auto path = folder.write("model", std::string(2 * kLimit, 'x'));
  std::filesystem::permissions(path, std::filesystem::perms(0444));
  in_group([&] {
    become_nobody();
    Block block = Block::map_file(path);
    const WarmResult result = block.warm(0, block.size(), {.threads = 1, .chunk = 4_MiB});
    EXPECT_EQ(result.end, WarmEnd::complete);
    EXPECT_EQ(result.present.value_or(block.size()), block.size());
  });
}

// Pages that were only read are one page of zeros. Writing them allocates memory.
TEST_F(WarmInGroup, PagesThatWereOnlyReadAreNotThere) {
  in_group([&] {
    Block block = committed(2 * kLimit);
    ASSERT_EQ(os::touch_pages(block.data(), block.size()), 0);
    const auto zeros = os::page_states(block.data(), block.size()).zeros;
    if (!zeros) return;  // the kernel does not tell them apart
    EXPECT_EQ(*zeros, block.size());
    expect_over_budget(block.warm(0, block.size(), {.threads = 1, .chunk = 4_MiB}), block.size());
  });
}

// Pages of the pool are set aside already, so neither MemAvailable nor the group's limit counts
// them.
TEST_F(WarmInGroup, HugePagesOfThePoolNeedNoBudget) {
  if (text_of("/proc/mounts").find("memory_hugetlb_accounting") != std::string::npos) {
    GTEST_SKIP() << "this host charges huge pages to memory cgroups";
  }
  const std::size_t huge = pool_page();
  const std::size_t pages = huge == 0 ? 0 : 2 * kLimit / huge;
  const HugePagePool pool(pages);
  if (!pool.ready()) GTEST_SKIP() << "the host's pool of huge pages cannot be filled here";
  in_group([&] {
    Block block = Block::reserve(2 * kLimit, {.huge_pages = HugePages::explicit_pages});
    block.commit(2 * kLimit);
    ASSERT_EQ(block.page_size(), huge);
    const WarmResult result = block.warm(0, 2 * kLimit, {.threads = 1, .chunk = 4_MiB});
    EXPECT_EQ(result.end, WarmEnd::complete);
    EXPECT_EQ(result.warmed, 2 * kLimit);
  });
}

}  // namespace
}  // namespace tapedeck::tests
