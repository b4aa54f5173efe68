// SPDX-License-Identifier: Apache-2.0
// What holds for every block that reserves and commits, and for borrowed and empty ones. Files,
// sharing, and wishes (locks, huge pages, fork) have test files of their own.
#include "tapedeck/memory/block.hpp"
#include "base/most.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "memory/block_kinds.hpp"
#include "memory/hook_ledger.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

// Returns the expected value if the kernel does not report residency.
std::size_t present(const Block& block, std::size_t offset, std::size_t bytes,
                    std::size_t expected) {
  return block.residency(offset, bytes).present.value_or(expected);
}

class BlockContract : public BlockKinds {
 protected:
  // Small pages, so that a touched page makes only one page resident.
  static constexpr HugePages kSmall = HugePages::never;

  [[nodiscard]] static Block make(std::size_t bytes,
                                  const BlockOptions& options = {.huge_pages = kSmall}) {
    return BlockKinds::make(bytes, options);
  }
  [[nodiscard]] static Block make_written(std::size_t bytes) {
    return BlockKinds::make_written(bytes, {.huge_pages = kSmall});
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, BlockContract, kBlockKinds, name_of_kind);

TEST_P(BlockContract, ReservesWholePagesAndCommitsNothing) {
  for (const std::size_t bytes : {std::size_t{1}, kPage - 1, kPage, kPage + 1, 17 * kPage}) {
    const Block block = make(bytes);
    EXPECT_EQ(block.size(), (bytes + kPage - 1) / kPage * kPage);
    EXPECT_EQ(block.committed(), 0U);
    EXPECT_EQ(block.kind(), GetParam().kind);
    EXPECT_TRUE(block.writable());
    EXPECT_EQ(block.page_size(), kPage);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % kPage, 0U);
    EXPECT_EQ(block.descriptor() >= 0, GetParam().kind == BlockKind::shared);
    EXPECT_TRUE(block.unmet().empty());
    EXPECT_TRUE(faults_on_read(block.data()));
  }
}

TEST_P(BlockContract, CommitsInStepsNeverLessAndKeepsWhatIsThere) {
  Block block = make(64 * kPage);
  std::byte* const first = block.data();
  std::size_t filled = 0;
  for (const std::size_t bytes :
       {std::size_t{1}, kPage + 1, 9 * kPage, 9 * kPage, kPage, std::size_t{0}, 64 * kPage}) {
    block.commit(bytes);
    EXPECT_EQ(block.committed(), std::max(filled, (bytes + kPage - 1) / kPage * kPage));
    EXPECT_EQ(block.data(), first);
    EXPECT_TRUE(Pattern(1).is_at(first, filled));
    EXPECT_TRUE(all_bytes_are(first + filled, block.committed() - filled, 0));
    filled = block.committed();
    Pattern(1).write(first, filled);
  }
  EXPECT_TRUE(Pattern(1).is_at(first, 64 * kPage));
}

TEST_P(BlockContract, WhatIsNotCommittedFaults) {
  Block block = make(4 * kPage);
  block.commit(2 * kPage);
  block.data()[2 * kPage - 1] = std::byte{1};
  EXPECT_TRUE(faults_on_read(block.data() + 2 * kPage));
  EXPECT_TRUE(faults_on_write(block.data() + 2 * kPage));
  EXPECT_TRUE(faults_on_write(block.data() + 4 * kPage - 1));
}

TEST_P(BlockContract, RefusesToCommitBeyondItsSize) {
  Block block = make(4 * kPage);
  block.commit(kPage);
  for (const std::size_t bytes : {4 * kPage + 1, kMost, kMost / 2 + 1}) {
    EXPECT_THROW(block.commit(bytes), InvalidArgument);
    EXPECT_FALSE(block.try_commit(bytes));
    EXPECT_EQ(block.committed(), kPage);
  }
  EXPECT_TRUE(block.try_commit(4 * kPage));
  EXPECT_EQ(block.committed(), 4 * kPage);
}

TEST_P(BlockContract, DecommitGivesPagesBackAndKeepsAddresses) {
  Block block = make_written(16 * kPage);
  std::byte* const first = block.data();
  EXPECT_EQ(present(block, 0, 16 * kPage, 16 * kPage), 16 * kPage);
  EXPECT_EQ(block.decommit(5 * kPage), 11 * kPage);
  EXPECT_EQ(block.committed(), 5 * kPage);
  EXPECT_EQ(block.size(), 16 * kPage);
  EXPECT_EQ(block.data(), first);
  EXPECT_EQ(present(block, 0, 16 * kPage, 5 * kPage), 5 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(first, 5 * kPage));
  EXPECT_TRUE(faults_on_read(first + 5 * kPage));
  EXPECT_TRUE(faults_on_write(first + 16 * kPage - 1));
}

TEST_P(BlockContract, DecommitKeepsWholePages) {
  Block block = make(4 * kPage);
  block.commit(4 * kPage);
  EXPECT_EQ(block.decommit(4 * kPage), 0U);
  EXPECT_EQ(block.decommit(kMost), 0U);
  EXPECT_EQ(block.decommit(3 * kPage + 1), 0U);
  EXPECT_EQ(block.decommit(kPage + 1), 2 * kPage);
  EXPECT_EQ(block.committed(), 2 * kPage);
  EXPECT_EQ(block.decommit(0), 2 * kPage);
  EXPECT_EQ(block.decommit(0), 0U);
  EXPECT_EQ(block.committed(), 0U);
}

TEST_P(BlockContract, ResidencyCountsWhatWasTouched) {
  Block block = make(8 * kPage);
  block.commit(8 * kPage);
  EXPECT_EQ(present(block, 0, 8 * kPage, 0), 0U);
  block.data()[2 * kPage] = block.data()[5 * kPage] = std::byte{1};
  EXPECT_EQ(present(block, 0, 8 * kPage, 2 * kPage), 2 * kPage);
  EXPECT_EQ(present(block, 2 * kPage, kPage, kPage), kPage);
  EXPECT_EQ(present(block, 3 * kPage, 2 * kPage, 0), 0U);
  EXPECT_EQ(block.residency(8 * kPage, 0).present, 0U);
  EXPECT_EQ(block.residency(0, 8 * kPage).huge.value_or(0), 0U);
}

TEST_P(BlockContract, ResidencyRefusesWhatIsOutside) {
  const Block block = make(4 * kPage);
  EXPECT_THROW(static_cast<void>(block.residency(0, 4 * kPage + 1)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(block.residency(4 * kPage + 1, 0)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(block.residency(kPage, kMost)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(block.residency(kMost, 2)), InvalidArgument);
}

TEST_P(BlockContract, SizesThatMakeNoSenseLeaveNothingBehind) {
  const NothingLeft check;
  EXPECT_THROW(static_cast<void>(make(0)), InvalidArgument);
  for (const std::size_t bytes : {kMost, kMost - kPage, kMost / 2, kMost / 2 + 1, kMost / 4 + 1}) {
    EXPECT_THROW(static_cast<void>(make(bytes)), InvalidArgument) << bytes;
  }
}

TEST_P(BlockContract, MoreThanTheMachineAddressesIsTheSystemsError) {
  const NothingLeft check;
  const auto error = thrown<SystemError>([&] { return make(std::size_t{1} << 60); });
  EXPECT_EQ(error.call(), "mmap");
  EXPECT_EQ(error.name(), "ENOMEM");
  EXPECT_GE(error.bytes(), std::size_t{1} << 60);
  EXPECT_NE(error.advice(), "");
}

TEST_P(BlockContract, ReservingCostsAddressesOnly) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each address";
  Block block = make(1024_GiB);
  block.commit(kPage);
  block.data()[0] = std::byte{1};
  EXPECT_EQ(block.size(), 1024_GiB);
  EXPECT_EQ(present(block, 0, 1_GiB, kPage), kPage);
}

TEST_P(BlockContract, LeavesNothingBehind) {
  { const Block once = make(kPage); }
  const NothingLeft check;
  BlockOptions options = {.core_dump = false, .guard_pages = true, .on_fork = OnFork::omit};
  Block block = make(64 * kPage, options);
  block.commit(9 * kPage);
  block.commit(32 * kPage);
  block.decommit(kPage);
  block.commit(64 * kPage);
}

TEST_P(BlockContract, MovesWithItsMemory) {
  Block first = make(4 * kPage);
  first.commit(kPage);
  Pattern(1).write(first.data(), kPage);
  std::byte* const at = first.data();
  Block second = std::move(first);
  EXPECT_EQ(second.data(), at);
  EXPECT_EQ(second.committed(), kPage);
  EXPECT_EQ(first.size(), 0U);  // NOLINT(bugprone-use-after-move): defined to be empty
  EXPECT_EQ(first.kind(), BlockKind::none);
  second.commit(4 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(at, kPage));
}

TEST_P(BlockContract, AMoveOverABlockEndsItAndOneOntoItselfDoesNot) {
  { const Block once = make(kPage); }
  const NothingLeft check;
  Block block = make(4 * kPage);
  Block other = make_written(8 * kPage);
  std::byte* const at = other.data();
  block = std::move(other);
  Block& alias = block;
  block = std::move(alias);
  EXPECT_EQ(block.data(), at);
  EXPECT_EQ(block.size(), 8 * kPage);
  EXPECT_EQ(block.committed(), 8 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(at, 8 * kPage));
  block = Block();
}

// Readers may read at any time, even while the block grows.
TEST_P(BlockContract, ReadersSeeWhatIsCommittedAndCanUseIt) {
  Block block = make(64 * kPage);
  std::atomic<bool> done{false};
  std::jthread reader([&] {
    std::size_t before = 0;
    while (!done) {
      const std::size_t now = block.committed();
      EXPECT_GE(now, before);
      EXPECT_EQ(block.size(), 64 * kPage);
      if (now != 0) {
        EXPECT_EQ(block.data()[now - 1], std::byte{0});
      }
      before = now;
    }
  });
  for (std::size_t pages = 1; pages <= 64; ++pages) block.commit(pages * kPage);
  done = true;
}

TEST_P(BlockContract, GuardPagesFaultOnBothSides) {
  const std::size_t huge = 4_MiB;  // even if the start is aligned to a huge page
  for (const std::size_t bytes : {kPage, 3 * kPage, huge}) {
    Block block = make(bytes, {.guard_pages = true});
    block.commit(bytes);
    block.data()[0] = block.data()[bytes - 1] = std::byte{1};
    EXPECT_TRUE(is_taken(block.data() - kPage));
    EXPECT_TRUE(is_taken(block.data() + bytes));
    EXPECT_TRUE(faults_on_read(block.data() - 1));
    EXPECT_TRUE(faults_on_write(block.data() - kPage));
    EXPECT_TRUE(faults_on_write(block.data() + bytes));
    EXPECT_TRUE(faults_on_read(block.data() + bytes + kPage - 1));
  }
}

TEST_P(BlockContract, AnnouncesEachByteOnce) {
  HookLedger ledger;
  {
    Block block = make(16 * kPage, ledger.with());
    EXPECT_EQ(ledger.commits(), 0U);
    block.commit(kPage);
    block.commit(kPage);
    block.commit(5 * kPage);
    EXPECT_EQ(ledger.commits(), 2U);
    EXPECT_EQ(ledger.open_bytes(), 5 * kPage);
    block.decommit(2 * kPage);
    EXPECT_EQ(ledger.open_bytes(), 2 * kPage);
    block.commit(16 * kPage);
    EXPECT_EQ(ledger.open_bytes(), 16 * kPage);
    EXPECT_EQ(block.decommit(16 * kPage), 0U);
    EXPECT_EQ(ledger.open_bytes(), 16 * kPage);
  }
  EXPECT_EQ(ledger.open_bytes(), 0U);
  EXPECT_EQ(ledger.mistakes(), "");
}

// Code that registered a range (cudaHostRegister, ibv_reg_mr) must unregister exactly that range.
TEST_P(BlockContract, TakesBackTheRangesThatWereAnnounced) {
  HookLedger ledger;
  {
    Block block = make(16 * kPage, ledger.with());
    block.commit(kPage);
    block.commit(5 * kPage);
    block.commit(16 * kPage);
    block.decommit(5 * kPage);
    block.commit(8 * kPage);
  }
  const auto as_pairs = [](const auto& ranges) {
    std::multimap<std::byte*, std::size_t> pairs;
    for (const std::span<std::byte> range : ranges) pairs.emplace(range.data(), range.size());
    return pairs;
  };
  EXPECT_EQ(ledger.commits(), 4U);
  EXPECT_EQ(as_pairs(ledger.committed()), as_pairs(ledger.decommitted()));
  EXPECT_EQ(ledger.mistakes(), "");
}

TEST_P(BlockContract, AnnouncesNothingTwiceWhenMoved) {
  HookLedger ledger;
  {
    Block first = make(4 * kPage, ledger.with());
    first.commit(4 * kPage);
    Block second = std::move(first);
    first = make(2 * kPage, ledger.with());
    first.commit(2 * kPage);
    EXPECT_EQ(ledger.open_bytes(), 6 * kPage);
    first = std::move(second);
    EXPECT_EQ(ledger.open_bytes(), 4 * kPage);
    EXPECT_EQ(ledger.decommits(), 1U);
  }
  EXPECT_EQ(ledger.open_bytes(), 0U);
  EXPECT_EQ(ledger.mistakes(), "");
}

TEST_P(BlockContract, AHookThatThrowsLeavesTheBlockAsItWas) {
  HookLedger ledger;
  {
    Block block = make(8 * kPage, ledger.with({.huge_pages = HugePages::never}));
    ledger.refuse_next();
    EXPECT_THROW(block.commit(2 * kPage), std::runtime_error);
    EXPECT_EQ(block.committed(), 0U);
    EXPECT_TRUE(faults_on_read(block.data()));
    block.commit(2 * kPage);
    Pattern(1).write(block.data(), 2 * kPage);
    ledger.refuse_next();
    EXPECT_FALSE(block.try_commit(8 * kPage));
    EXPECT_EQ(block.committed(), 2 * kPage);
    EXPECT_EQ(block.page_size(), kPage);
    EXPECT_TRUE(block.unmet().empty());
    EXPECT_EQ(present(block, 0, 8 * kPage, 2 * kPage), 2 * kPage);
    EXPECT_TRUE(faults_on_read(block.data() + 2 * kPage));
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kPage));
    EXPECT_EQ(ledger.open_bytes(), 2 * kPage);
    block.commit(8 * kPage);
    EXPECT_TRUE(all_bytes_are(block.data() + 2 * kPage, 6 * kPage, 0));
  }
  EXPECT_EQ(ledger.open_bytes(), 0U);
  EXPECT_EQ(ledger.mistakes(), "");
}

TEST_P(BlockContract, AHookMayLookAtItsBlockAndRefuse) {
  std::optional<Block> block;
  std::size_t seen = kMost;
  BlockOptions options;
  options.on_commit = [&](std::span<std::byte> range) {
    seen = block->committed();  // not yet
    range[0] = std::byte{1};
    throw std::runtime_error("no");
  };
  block = make(4 * kPage, options);
  EXPECT_FALSE(block->try_commit(kPage));
  EXPECT_EQ(seen, 0U);
}

TEST(BorrowedBlock, IsTheCallersMemory) {
  std::array<std::byte, 1000> memory{};
  {
    Block block = Block::borrow(memory);
    EXPECT_EQ(block.data(), memory.data());
    EXPECT_EQ(block.size(), 1000U);
    EXPECT_EQ(block.committed(), 1000U);
    EXPECT_EQ(block.kind(), BlockKind::borrowed);
    EXPECT_TRUE(block.writable());
    EXPECT_EQ(block.descriptor(), -1);
    block.commit(1000);
    EXPECT_THROW(block.commit(1001), InvalidArgument);
    EXPECT_FALSE(block.try_commit(1001));
    Pattern(1).write(block.data(), 1000);
    EXPECT_EQ(block.decommit(0), 0U);
    EXPECT_EQ(block.committed(), 1000U);
  }
  EXPECT_TRUE(Pattern(1).is_at(memory.data(), 1000));
}

TEST(BorrowedBlock, ChangesNoMapping) {
  Block below = Block::reserve(4 * kPage);
  below.commit(4 * kPage);
  Pattern(1).write(below.data(), 4 * kPage);
  const Holdings before = holdings();
  {
    Block block = Block::borrow({below.data() + 10, 3 * kPage});
    EXPECT_EQ(block.decommit(kPage), 0U);
    EXPECT_EQ(present(block, 0, 3 * kPage, 3 * kPage), 3 * kPage);
    EXPECT_THROW(static_cast<void>(block.warm(1, 3 * kPage)), InvalidArgument);
    EXPECT_TRUE(block.warm(0, 3 * kPage, {.threads = 1}));
  }
  EXPECT_TRUE(same(before, holdings()));
  EXPECT_TRUE(Pattern(1).is_at(below.data(), 4 * kPage));
}

TEST(BorrowedBlock, MayBeEmpty) {
  Block block = Block::borrow({});
  EXPECT_EQ(block.kind(), BlockKind::borrowed);
  EXPECT_EQ(block.size(), 0U);
  EXPECT_EQ(block.decommit(0), 0U);
  EXPECT_TRUE(block.warm(0, 0));
  EXPECT_EQ(block.residency(0, 0).present, 0U);
  EXPECT_THROW(block.commit(1), InvalidArgument);
}

TEST(EmptyBlock, AnswersEverythingAndRefusesWhatIsOutside) {
  Block block;
  EXPECT_EQ(block.data(), nullptr);
  EXPECT_EQ(block.size(), 0U);
  EXPECT_EQ(block.committed(), 0U);
  EXPECT_EQ(block.kind(), BlockKind::none);
  EXPECT_FALSE(block.writable());
  EXPECT_EQ(block.page_size(), 0U);
  EXPECT_EQ(block.descriptor(), -1);
  EXPECT_TRUE(block.unmet().empty());
  EXPECT_EQ(block.decommit(0), 0U);
  EXPECT_FALSE(block.lock());
  EXPECT_EQ(block.residency(0, 0).present, 0U);
  const WarmResult warm = block.warm(0, 0);
  EXPECT_TRUE(warm);
  EXPECT_EQ(warm.asked, 0U);
  block.commit(0);
  EXPECT_TRUE(block.try_commit(0));
  EXPECT_FALSE(block.try_commit(1));
  // Regression: "a block of 0 B cannot commit 4 KiB; reserve a larger block".
  const std::vector<std::function<void()>> calls = {
      [&] { block.commit(kPage); }, [&] { static_cast<void>(block.part(0, kPage)); },
      [&] { static_cast<void>(block.warm(0, 1)); },
      [&] { static_cast<void>(block.residency(1, 0)); }};
  for (const auto& call : calls) {
    const auto refused = thrown<WrongState>(call);
    EXPECT_EQ(refused.state(), ObjectState::empty);
    EXPECT_EQ(refused.object(), "block");
  }
}

TEST(Wish, HasAName) {
  EXPECT_STREQ(to_string(Wish::huge_pages), "huge pages");
  EXPECT_STREQ(to_string(Wish::lock), "lock");
  EXPECT_STREQ(to_string(Wish::core_dump), "kept out of core dumps");
  EXPECT_STREQ(to_string(Wish::on_fork), "fork policy");
  EXPECT_STREQ(to_string(Wish::numa), "NUMA placement");
}

TEST(NumaNodes, HoldEveryNumberThatLinuxGivesANode) {
  const NumaNodes nodes = {0, 1023};
  EXPECT_TRUE(nodes.contains(0) && nodes.contains(1023));
  EXPECT_FALSE(nodes.contains(1) || nodes.contains(1024) || nodes.empty());
  EXPECT_TRUE(NumaNodes().empty());
  const auto error = thrown<InvalidArgument>([] { static_cast<void>(NumaNodes({5, 1024})); });
  EXPECT_EQ(error.value(), 1024U);
  EXPECT_EQ(error.limit(), 1023U);
}

}  // namespace
}  // namespace tapedeck::tests
