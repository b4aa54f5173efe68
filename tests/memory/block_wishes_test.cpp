// What a block can be asked for and the host may not have: core dumps, fork, locks, huge pages.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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

using ::testing::HasSubstr;

bool has_transparent_huge_pages() {
  return ::access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
}

std::vector<std::string> texts(const Block& block) {
  std::vector<std::string> all;
  for (const Unmet& one : block.unmet()) all.push_back(one.text);
  return all;
}

struct WishMaker {
  const char* name;
  Block (*make)(std::size_t, const BlockOptions&);

  friend void PrintTo(const WishMaker& maker, std::ostream* out) { *out << maker.name; }
};

class BlockWishes : public ::testing::TestWithParam<WishMaker> {
 protected:
  [[nodiscard]] static Block make(std::size_t bytes, const BlockOptions& options) {
    return GetParam().make(bytes, options);
  }
  [[nodiscard]] static bool anonymous() { return GetParam().make == Block::reserve; }
};

INSTANTIATE_TEST_SUITE_P(Kinds, BlockWishes,
                         ::testing::Values(WishMaker{"Anonymous", Block::reserve},
                                           WishMaker{"Shared", Block::create_shared}),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST_P(BlockWishes, IsInCoreDumpsUnlessAskedOut) {
  Block block = make(4 * kPage, {});
  block.commit(4 * kPage);
  EXPECT_FALSE(any_has_flag(block.data(), 4 * kPage, "dd"));
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

// The kernel zeroes private memory only; for shared memory that is told.
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
  Block block = make(4 * kPage, {});
  block.commit(4 * kPage);
  Pattern(1).write(block.data(), 4 * kPage);
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
    EXPECT_THAT(texts(block), ::testing::IsEmpty());
  }
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

// What is refused is told, with errno, and the block works on without it.
void expect_refused(const WishMaker& maker, const BlockOptions& options, Wish wish,
                    const std::string& text) {
  Block block = maker.make(4 * kPage, options);
  {
    const os::InjectFault fault(2, ENOSYS);  // the first makes the pages usable
    block.commit(4 * kPage);
    ASSERT_TRUE(os::InjectFault::fired());
  }
  ASSERT_EQ(block.unmet().size(), 1U);
  EXPECT_EQ(block.unmet()[0].wish, wish);
  EXPECT_EQ(block.unmet()[0].error, ENOSYS);
  EXPECT_THAT(block.unmet()[0].text, HasSubstr(text));
  EXPECT_EQ(block.committed(), 4 * kPage);
  Pattern(1).write(block.data(), 4 * kPage);
}

TEST_P(BlockWishes, WhatIsRefusedIsTold) {
  expect_refused(GetParam(), {}, Wish::huge_pages, "huge pages: ENOSYS");
}

TEST_P(BlockWishes, AWishIsToldOnceHoweverOftenItIsRefused) {
  Block block = make(8 * kPage, {.core_dump = false});
  for (const std::size_t bytes : {kPage, 2 * kPage, 8 * kPage}) {
    const os::InjectFault fault(3, EPERM);
    block.commit(bytes);
  }
  EXPECT_THAT(texts(block), ::testing::ElementsAre("kept out of core dumps: EPERM"));
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

TEST_P(BlockWishes, NothingIsLockedUnasked) {
  Block block = make(2 * kPage, {});
  block.commit(2 * kPage);
  EXPECT_FALSE(any_has_flag(block.data(), 2 * kPage, "lo"));
}

TEST_P(BlockWishes, ALockThatIsRefusedSaysHowMuchAndTheLimit) {
  in_child([&] {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    limit.rlim_cur = 65536;
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    Block block = make(1_MiB, {});
    block.commit(1_MiB);
    const os::InjectFault fault(1, ENOMEM);
    EXPECT_FALSE(block.lock());
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].wish, Wish::lock);
    EXPECT_EQ(block.unmet()[0].error, ENOMEM);
    EXPECT_EQ(block.unmet()[0].text, "lock: ENOMEM (asked 1 MiB, limit 64 KiB)");
  });
}

// Raised limit, second try: it is had now.
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

TEST(FileWishes, ThoseForAnonymousMemoryAreToldOrIgnored) {
  const TempFolder folder;
  const Block block =
      Block::map_file(folder.write("a", "content"),
                      {.huge_pages = HugePages::explicit_pages, .on_fork = OnFork::zero});
  EXPECT_EQ(block.page_size(), kPage);
  ASSERT_EQ(block.unmet().size(), 1U);
  EXPECT_EQ(block.unmet()[0].wish, Wish::on_fork);
  EXPECT_EQ(block.data()[0], std::byte{'c'});
}

}  // namespace
}  // namespace tapedeck::tests
