// SPDX-License-Identifier: Apache-2.0
// Wishes that the host may not be able to fulfill: core dumps, fork, locks, huge pages.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "memory/block_kinds.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/faults.hpp"
#include "os/huge_page_pool.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

bool has_transparent_huge_pages() {
  return ::access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
}

/// Whether the host's setting lets the first touch of a block use huge pages.
bool has_setting_for(const Block& block) {
  const std::string file = block.kind() == BlockKind::shared ? "shmem_enabled" : "enabled";
  const std::string text = text_of("/sys/kernel/mm/transparent_hugepage/" + file);
  return text.find("[never]") == std::string::npos && text.find("[deny]") == std::string::npos;
}

std::vector<std::string> texts(const Block& block) {
  std::vector<std::string> all;
  for (const Unmet& one : block.unmet()) all.push_back(one.text);
  return all;
}

class BlockWishes : public BlockKinds {};
INSTANTIATE_TEST_SUITE_P(Kinds, BlockWishes, kBlockKinds, name_of_kind);

TEST_P(BlockWishes, NothingIsDoneUnasked) {
  Block block = make(4 * kPage, {});
  block.commit(4 * kPage);
  for (const char* flag : {"dd", "dc", "wf", "lo"}) {
    EXPECT_FALSE(any_has_flag(block.data(), 4 * kPage, flag)) << flag;
  }
}

TEST_P(BlockWishes, EveryCommitIsKeptOutOfCoreDumps) {
  Block block = make(8 * kPage, {.core_dump = false});
  block.commit(2 * kPage);
  EXPECT_TRUE(has_flag(block.data(), 2 * kPage, "dd"));
  block.commit(8 * kPage);
  EXPECT_TRUE(has_flag(block.data(), 8 * kPage, "dd"));
  block.decommit(kPage);
  block.commit(8 * kPage);
  EXPECT_TRUE(has_flag(block.data(), 8 * kPage, "dd"));
  EXPECT_THAT(texts(block), ::testing::IsEmpty());
}

TEST_P(BlockWishes, AChildHasNothingOfWhatIsOmitted) {
  Block block = make(4 * kPage, {.on_fork = OnFork::omit});
  block.commit(kPage);
  block.commit(4 * kPage);
  Pattern(1).write(block.data(), 4 * kPage);
  EXPECT_TRUE(has_flag(block.data(), 4 * kPage, "dc"));
  EXPECT_TRUE(faults_on_read(block.data()));
  EXPECT_TRUE(faults_on_read(block.data() + 4 * kPage - 1));
  EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kPage));
}

// The kernel zeroes only private memory for a child; for shared memory this is reported.
TEST_P(BlockWishes, AChildFindsZerosWhereThatWasAsked) {
  Block block = make(4 * kPage, {.on_fork = OnFork::zero});
  block.commit(kPage);
  block.commit(4 * kPage);
  Pattern(1).write(block.data(), 4 * kPage);
  if (!anonymous()) {
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].wish, Wish::on_fork);
    EXPECT_EQ(block.unmet()[0].error, EINVAL);
    EXPECT_EQ(block.unmet()[0].text, "fork policy: EINVAL");
    return;
  }
  EXPECT_TRUE(has_flag(block.data(), 4 * kPage, "wf"));
  in_child([&] { EXPECT_TRUE(all_bytes_are(block.data(), 4 * kPage, 0)); });
  EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kPage));
  EXPECT_THAT(texts(block), ::testing::IsEmpty());
}

TEST_P(BlockWishes, AChildHasACopyOtherwise) {
  const Block block = make_written(4 * kPage, {});
  in_child([&] {
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kPage));
    Pattern(2).write(block.data(), 4 * kPage);
  });
  EXPECT_TRUE(Pattern(anonymous() ? 1 : 2).is_at(block.data(), 4 * kPage));
}

TEST_P(BlockWishes, TellTheKernelAboutHugePages) {
  if (!has_transparent_huge_pages()) GTEST_SKIP() << "this kernel has no transparent huge pages";
  for (const bool wanted : {false, true}) {
    const HugePages huge_pages = wanted ? HugePages::transparent : HugePages::never;
    Block block = make(4_MiB, {.huge_pages = huge_pages});
    block.commit(1_MiB);
    block.commit(4_MiB);
    EXPECT_TRUE(has_flag(block.data(), 4_MiB, wanted ? "hg" : "nh"));
    EXPECT_FALSE(any_has_flag(block.data(), 4_MiB, wanted ? "nh" : "hg"));
    EXPECT_EQ(block.page_size(), kPage);
    const bool refused = wanted && !has_setting_for(block);
    EXPECT_EQ(block.unmet().size(), refused ? 1U : 0U);
    for (const Unmet& one : block.unmet()) EXPECT_EQ(one.error, EOPNOTSUPP) << one.text;
  }
}

// Where the host's setting keeps the first touch from using huge pages, or the kernel had none at
// that moment, warming moves what is in memory into them.
TEST_P(BlockWishes, WarmMemoryIsInHugePagesOrSaysSo) {
  if (!has_transparent_huge_pages()) GTEST_SKIP() << "this kernel has no transparent huge pages";
  constexpr std::size_t kBytes = 8_MiB;
  Block block = make_written(kBytes, {});
  EXPECT_TRUE(block.warm(0, kBytes, {.threads = 1}));
  EXPECT_TRUE(Pattern(1).is_at(block.data(), kBytes));
  const std::size_t huge = block.residency(0, kBytes).huge.value_or(0);
  EXPECT_EQ(block.unmet().empty(), huge == kBytes) << huge;
  if (huge != kBytes) GTEST_SKIP() << "this kernel cannot move memory into huge pages";
  // A reader of the same memory has nothing to move. Whether it maps pages as huge ones is up to
  // the kernel.
  if (anonymous()) return;
  Block reader = Block::open_shared(block.descriptor(), false);
  EXPECT_TRUE(reader.warm(0, kBytes, {.threads = 1}));
  EXPECT_THAT(texts(reader), ::testing::IsEmpty());
  EXPECT_TRUE(Pattern(1).is_at(reader.data(), kBytes));
}

// A process may have huge pages disabled; advice to use them then succeeds and has no effect.
TEST(BlockWishes, HugePagesThatTheProcessHasDisabledAreUnmet) {
  if (!has_transparent_huge_pages()) GTEST_SKIP() << "this kernel has no transparent huge pages";
  in_child([] {
    ASSERT_EQ(::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    Block block = Block::reserve(4_MiB);
    block.commit(4_MiB);
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].wish, Wish::huge_pages);
    EXPECT_EQ(block.unmet()[0].error, EOPNOTSUPP);
    EXPECT_TRUE(block.warm(0, 4_MiB, {.threads = 1}));
    EXPECT_EQ(block.unmet().size(), 1U);
    Block small = Block::reserve(16 * kPage);  // has no room for a huge page
    small.commit(16 * kPage);
    EXPECT_THAT(texts(small), ::testing::IsEmpty());
  });
}

struct IdleCall {
  const char* name;
  BlockOptions options;
  std::uint64_t call;  ///< The first call makes the pages usable.
  Wish wish;
};

// The kernel, a sandbox or a sanitizer may report success for a call and do nothing.
TEST(BlockWishes, AreUnmetWhereACallSucceedsAndDoesNothing) {
  constexpr HugePages kNever = HugePages::never;
  for (const IdleCall& idle :
       {IdleCall{"core dump", {.huge_pages = kNever, .core_dump = false}, 3, Wish::core_dump},
        IdleCall{"omit", {.huge_pages = kNever, .on_fork = OnFork::omit}, 3, Wish::on_fork},
        IdleCall{"zero", {.huge_pages = kNever, .on_fork = OnFork::zero}, 3, Wish::on_fork},
        IdleCall{"lock", {.huge_pages = kNever, .lock = true}, 3, Wish::lock},
        IdleCall{
            "bind",
            {.huge_pages = kNever, .numa = {.policy = NumaPlacement::Policy::bind, .nodes = {0}}},
            3,
            Wish::numa}}) {
    SCOPED_TRACE(idle.name);
    Block block = Block::reserve(4 * kPage, idle.options);
    {
      const os::InjectFault fault(idle.call, os::kSucceedsIdly);
      block.commit(4 * kPage);
      EXPECT_TRUE(os::InjectFault::fired());
    }
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].wish, idle.wish);
    EXPECT_NE(block.unmet()[0].error, 0);
  }
}

// What a part lacks is not what the others lack.
TEST(BlockWishes, EachPartSaysWhatItLacks) {
  Block whole = Block::reserve(8 * kPage, {.huge_pages = HugePages::never, .core_dump = false});
  Block first = whole.part(0, 4 * kPage);
  Block second = whole.part(4 * kPage, 4 * kPage);
  {
    const os::InjectFault fault(3, os::kSucceedsIdly);
    first.commit(kPage);
  }
  second.commit(kPage);
  EXPECT_EQ(first.unmet().size(), 1U);
  EXPECT_THAT(texts(second), ::testing::IsEmpty());
}

// The kernel leaves out nodes that do not exist, and reports success.
TEST_P(BlockWishes, NodesThatTheKernelLeavesOutAreUnmet) {
  const BlockOptions options = {
      .huge_pages = HugePages::never,
      .numa = {.policy = NumaPlacement::Policy::interleave, .nodes = {0, 1023}}};
  Block block = make(4 * kPage, options);
  block.commit(4 * kPage);
  ASSERT_EQ(block.unmet().size(), 1U);
  EXPECT_EQ(block.unmet()[0].wish, Wish::numa);
}

TEST(BlockWishes, AnonymousMemoryBeginsWhereHugePagesDo) {
  const std::size_t huge = pool_page();
  if (huge == 0) GTEST_SKIP() << "this kernel has no huge pages";
  for (const bool guards : {false, true}) {
    Block block = Block::reserve(huge, {.guard_pages = guards});
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % huge, 0U);
    EXPECT_EQ(block.size(), huge);
    block.commit(huge);
    Pattern(1).write(block.data(), huge);
  }
}

// With errno; and the block works without it.
TEST_P(BlockWishes, AWishIsToldOnceHoweverOftenItIsRefused) {
  Block block = make(8 * kPage, {.core_dump = false});
  std::size_t pages = 0;
  for (const std::uint64_t call : {2U, 2U, 3U, 3U, 3U}) {  // the first makes the pages usable
    const os::InjectFault fault(call, call == 2 ? ENOSYS : EPERM);
    block.commit(++pages * kPage);
    EXPECT_TRUE(os::InjectFault::fired());
  }
  EXPECT_THAT(texts(block),
              ::testing::ElementsAre("huge pages: ENOSYS", "kept out of core dumps: EPERM"));
  EXPECT_EQ(block.unmet()[0].wish, Wish::huge_pages);
  EXPECT_EQ(block.unmet()[0].error, ENOSYS);
  EXPECT_EQ(block.committed(), 5 * kPage);
  Pattern(1).write(block.data(), 5 * kPage);
}

TEST_P(BlockWishes, MemoryIsLockedAsItIsCommitted) {
  Block block = make(8 * kPage, {.lock = true});
  const std::size_t before = number_of("/proc/self/status", "VmLck:");
  block.commit(2 * kPage);
  block.commit(8 * kPage);
  if (!block.unmet().empty()) GTEST_SKIP() << "this user may not lock memory";
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  EXPECT_TRUE(has_flag(block.data(), 8 * kPage, "lo"));
  EXPECT_EQ(number_of("/proc/self/status", "VmLck:"), before + 8 * kPage / 1024);
  EXPECT_EQ(block.residency(0, 8 * kPage).present.value_or(8 * kPage), 8 * kPage);
  EXPECT_EQ(block.decommit(kPage), 7 * kPage);
  block.commit(8 * kPage);
  EXPECT_TRUE(has_flag(block.data(), 8 * kPage, "lo"));
}

TEST_P(BlockWishes, MemoryCanBeLockedLater) {
  Block block = make(8 * kPage, {});
  block.commit(2 * kPage);
  if (!block.lock()) GTEST_SKIP() << "this user may not lock memory";
  block.commit(8 * kPage);
  EXPECT_THAT(texts(block), ::testing::IsEmpty());
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  EXPECT_TRUE(has_flag(block.data(), 8 * kPage, "lo"));
}

// The limit is raised, so the second attempt succeeds.
TEST_P(BlockWishes, AWishThatIsMetLaterIsNoLongerUnmet) {
  Block block = make(4 * kPage, {});
  block.commit(4 * kPage);
  {
    const os::InjectFault fault(1, EPERM);
    EXPECT_FALSE(block.lock());
  }
  EXPECT_EQ(block.unmet().size(), 1U);
  if (!block.lock()) GTEST_SKIP() << "this user may not lock memory";
  EXPECT_THAT(texts(block), ::testing::IsEmpty());
}

// Of memory that the kernel may drop, it says that it is locked, and locks nothing.
TEST(BlockWishes, ALockOfDroppableMemoryIsUnmet) {
  constexpr int kDroppable = 8;  // MAP_DROPPABLE, which the headers of older systems lack
  void* const at =
      ::mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, kDroppable | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) GTEST_SKIP() << "this kernel has no droppable memory";
  Block block = Block::borrow({static_cast<std::byte*>(at), 4 * kPage});
  EXPECT_FALSE(block.lock());
  ASSERT_EQ(block.unmet().size(), 1U);
  EXPECT_EQ(block.unmet()[0].wish, Wish::lock);
  EXPECT_EQ(block.unmet()[0].error, EOPNOTSUPP);
  EXPECT_EQ(::munmap(at, 4 * kPage), 0);
}

TEST(FileWishes, AreHadWhereTheKernelCan) {
  const TempFolder folder;
  const std::string content(2 * kPage, 'x');
  const Block block = Block::map_file(folder.write("a", content),
                                      {.lock = true, .core_dump = false, .on_fork = OnFork::omit});
  EXPECT_TRUE(has_flag(block.data(), 2 * kPage, "dd"));
  EXPECT_TRUE(has_flag(block.data(), 2 * kPage, "dc"));
  EXPECT_TRUE(faults_on_read(block.data()));
  if (!block.unmet().empty()) GTEST_SKIP() << "this user may not lock memory";
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  EXPECT_TRUE(has_flag(block.data(), 2 * kPage, "lo"));
}

TEST(FileWishes, ThoseForAnonymousMemoryAreUnmet) {
  const TempFolder folder;
  const Block block =
      Block::map_file(folder.write("a", "content"),
                      {.huge_pages = HugePages::explicit_pages,
                       .on_fork = OnFork::zero,
                       .numa = {.policy = NumaPlacement::Policy::bind, .nodes = {0}}});
  EXPECT_EQ(block.page_size(), kPage);
  ASSERT_EQ(block.unmet().size(), 3U);
  EXPECT_EQ(block.unmet()[0].wish, Wish::huge_pages);
  EXPECT_EQ(block.unmet()[1].wish, Wish::numa);
  EXPECT_EQ(block.unmet()[2].wish, Wish::on_fork);
  EXPECT_EQ(block.data()[0], std::byte{'c'});
}

}  // namespace
}  // namespace tapedeck::tests
