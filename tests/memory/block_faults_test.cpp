// SPDX-License-Identifier: Apache-2.0
// Runs every path of a block with each of its system calls failing in turn.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "memory/hook_ledger.hpp"
#include "memory/pattern.hpp"
#include "os/fault_sweep.hpp"
#include "os/huge_page_pool.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

Complaints complaints_of(const Block& block) {
  Complaints all;
  for (const Unmet& one : block.unmet()) {
    EXPECT_NE(one.text.find(errno_name(one.error)), std::string::npos) << one.text;
    all.push_back(one.text);
  }
  return all;
}

/// All options for memory that is not a file.
BlockOptions everything(HookLedger& ledger) {
  return ledger.with(
      {.lock = true, .core_dump = false, .guard_pages = true, .on_fork = OnFork::omit});
}

void expect_balanced(const HookLedger& ledger) {
  EXPECT_EQ(ledger.open_bytes(), 0U);
  EXPECT_EQ(ledger.mistakes(), "");
}

class BlockFaults : public ::testing::TestWithParam<int> {
 protected:
  // Runs `use` with a new ledger for each run. The ledger must find no mistakes.
  static void sweep_with_ledger(const std::function<Complaints(HookLedger&)>& use,
                                std::uint64_t calls_at_least,
                                const std::set<std::string>& silent = {}) {
    const auto run = [&] {
      HookLedger ledger;
      Complaints all;
      try {
        all = use(ledger);
      } catch (...) {
        expect_balanced(ledger);
        throw;
      }
      expect_balanced(ledger);
      return all;
    };
    EXPECT_GE(sweep({.run = run, .silent = silent_looks(silent)}, GetParam()), calls_at_least);
  }
};

INSTANTIATE_TEST_SUITE_P(Errno, BlockFaults,
                         ::testing::ValuesIn(sweep_errors({ENOMEM, EPERM, EINTR, EAGAIN})),
                         [](const auto& number) { return errno_name(number.param); });

// Commits, grows, decommits, and grows again. As far as it got, its bytes must be right.
Complaints use_memory(Block block) {
  block.commit(2 * kPage);
  Pattern(1).write(block.data(), 2 * kPage);
  try {
    block.commit(8 * kPage);
  } catch (const SystemError&) {
    EXPECT_EQ(block.committed(), 2 * kPage);
    EXPECT_TRUE(access_of(block.data() + 2 * kPage).starts_with("---"));
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kPage));
    block.commit(8 * kPage);  // only one call fails
    throw;
  }
  EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kPage));
  EXPECT_TRUE(all_bytes_are(block.data() + 2 * kPage, 6 * kPage, 0));
  return complaints_of(block);
}

TEST_P(BlockFaults, MakeAndGrow) {
  for (const auto make : {Block::reserve, Block::create_shared}) {
    sweep_with_ledger(
        [&](HookLedger& ledger) { return use_memory(make(8 * kPage, everything(ledger))); },
        // mmap, two mprotect, three madvise, mlock; three more for shared memory
        make == Block::reserve ? 11 : 14);
  }
}

// The pool may be empty or not; in either case nothing may be left behind.
TEST_P(BlockFaults, ExplicitHugePages) {
  const std::size_t huge = pool_page();
  if (huge == 0) GTEST_SKIP() << "this kernel has no huge pages";
  const HugePagePool pool(1);
  if (!pool.ready()) GTEST_SKIP() << "the host's pool of huge pages cannot be filled here";
  for (const auto make : {Block::reserve, Block::create_shared}) {
    sweep_with_ledger(
        [&](HookLedger& ledger) {
          BlockOptions options = everything(ledger);
          options.huge_pages = HugePages::explicit_pages;
          Block block = make(huge, options);
          block.commit(huge);
          block.data()[huge - 1] = std::byte{1};
          Complaints all = complaints_of(block);
          all.push_back("pages of " + to_iec(block.page_size()));
          return all;
        },
        4);
  }
}

// A kernel without huge pages refuses the advice against them, and everything is as requested.
TEST_P(BlockFaults, NoHugePagesIsAdviceNobodyMisses) {
  const Work work = {.run =
                         [] {
                           Block block =
                               Block::reserve(4 * kPage, {.huge_pages = HugePages::never});
                           block.commit(4 * kPage);
                           return complaints_of(block);
                         },
                     .silent = {"madvise"}};
  EXPECT_EQ(sweep(work, GetParam()), 3U);
}

TEST_P(BlockFaults, MapFile) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", std::string(3 * kPage + 5, 'x'));
  sweep_with_ledger(
      [&](HookLedger& ledger) {
        const Block block = Block::map_file(path, everything(ledger));
        EXPECT_TRUE(all_bytes_are(block.data(), block.size(), 'x'));
        return complaints_of(block);
      },
      12,  // open, fstat, five to ask who reports the page cache, two mmap, two madvise, mlock
      {"mincore", "fstatfs", "statx"});
}

TEST_P(BlockFaults, OpenShared) {
  Block owner = Block::create_shared(4 * kPage);
  owner.commit(4 * kPage);
  Pattern(1).write(owner.data(), 4 * kPage);
  for (const bool writable : {false, true}) {
    sweep_with_ledger(
        [&](HookLedger& ledger) {
          const Block block = Block::open_shared(owner.descriptor(), writable, everything(ledger));
          EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kPage));
          return complaints_of(block);
        },
        8, {"mincore", "fstatfs", "statx"});
  }
  EXPECT_TRUE(Pattern(1).is_at(owner.data(), 4 * kPage));
}

TEST_P(BlockFaults, Lock) {
  Block block = Block::reserve(4 * kPage);
  block.commit(4 * kPage);
  const os::InjectFault fault(1, GetParam());
  EXPECT_FALSE(block.lock());
  ASSERT_EQ(block.unmet().size(), 1U);
  EXPECT_EQ(block.unmet()[0].wish, Wish::lock);
  EXPECT_EQ(block.unmet()[0].error, GetParam());
}

// However decommit fails, the rest is unchanged, the decommitted part is inaccessible, and memory
// that is committed again is new. (Shared memory has only mprotect to remove the access.)
Complaints give_back(Block block) {
  block.commit(8 * kPage);
  Pattern(1).write(block.data(), 8 * kPage);
  const std::size_t given_back = block.decommit(3 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(block.data(), 3 * kPage));
  EXPECT_EQ(block.committed(), 3 * kPage);
  EXPECT_TRUE(given_back == 0 || given_back == 5 * kPage) << given_back;
  if (given_back != 0 || block.kind() != BlockKind::shared) {
    EXPECT_TRUE(access_of(block.data() + 3 * kPage).starts_with("---"));
  }
  block.commit(8 * kPage);
  EXPECT_TRUE(all_bytes_are(block.data() + 3 * kPage, 5 * kPage, 0));
  Complaints all = complaints_of(block);
  if (given_back == 0) all.emplace_back("nothing was given back");
  return all;
}

// Locked pages cannot be dropped by every method; anonymous pages may be dropped by another one.
TEST_P(BlockFaults, Decommit) {
  struct Case {
    Block (*make)(std::size_t, const BlockOptions&);
    bool locked;
    std::uint64_t calls;
    std::set<std::string> silent{};
  };
  for (const auto& [make, locked, calls, silent] :
       {Case{Block::reserve, true, 12, {"mmap"}}, Case{Block::reserve, false, 6, {"mmap"}},
        Case{Block::create_shared, true, 15}, Case{Block::create_shared, false, 9}}) {
    sweep_with_ledger(
        [make = make, locked = locked](HookLedger& ledger) {
          return give_back(make(8 * kPage, locked ? everything(ledger) : ledger.with()));
        },
        calls, silent);
  }
}

TEST_P(BlockFaults, DecommitOfForeignMemory) {
  const TempFolder folder;
  Block block = Block::map_file(folder.write("a", std::string(4 * kPage, 'x')));
  {
    const os::InjectFault fault(1, GetParam());
    EXPECT_EQ(block.decommit(0), 0U);
  }
  EXPECT_TRUE(all_bytes_are(block.data(), 4 * kPage, 'x'));
  EXPECT_EQ(block.decommit(0), 4 * kPage);
}

// Every failure is reported in the result.
TEST_P(BlockFaults, Warm) {
  const auto run = [] {
    Block block = Block::reserve(8 * kPage);
    block.commit(8 * kPage);
    Pattern(1).write(block.data(), 2 * kPage);
    const WarmResult result = block.warm(0, 8 * kPage, {.threads = 1, .chunk = 4 * kPage});
    Complaints all = complaints_of(block);
    if (!result) all.push_back("warm: " + errno_name(result.error));
    if (!result.present) all.emplace_back("present: unknown");
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kPage));
    EXPECT_TRUE(all_bytes_are(block.data() + 2 * kPage, 6 * kPage, 0));
    return all;
  };
  EXPECT_GE(sweep({.run = run, .silent = silent_looks()}, GetParam()), 7U);
}

TEST_P(BlockFaults, Residency) {
  Block block = Block::reserve(4 * kPage);
  block.commit(4 * kPage);
  block.data()[0] = std::byte{1};
  const auto run = [&] {
    const Residency residency = block.residency(0, 4 * kPage);
    Complaints all;
    if (!residency.present) all.emplace_back("present: unknown");
    if (!residency.huge) all.emplace_back("huge: unknown");
    return all;
  };
  // Of two files: open, ioctl or pread ...
  EXPECT_GE(sweep({.run = run, .silent = {"ioctl"}}, GetParam()), 5U);
}

// A destructor only asks the system to unmap.
TEST(BlockEnd, CannotFail) {
  const NothingLeft check;
  Block block = Block::create_shared(4 * kPage, {.guard_pages = true});
  block.commit(4 * kPage);
  const os::InjectFault fault(1, ENOMEM);
  block = Block();
  EXPECT_EQ(os::InjectFault::calls(), 0U);
}

}  // namespace
}  // namespace tapedeck::tests
