// SPDX-License-Identifier: Apache-2.0
// What depends on rights and limits, tested in a child under another user id, because root has no
// limits.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/huge_page_pool.hpp"
#include "os/limits.hpp"
#include "os/rights.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

/// Locks memory as a user with a limit for locked memory.
class LockAsNobody : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  }
  static void with_limit(std::size_t bytes, const std::function<void()>& work) {
    as_nobody([&] {
      limit(RLIMIT_MEMLOCK, bytes);
      work();
    });
  }
  static void expect_unmet(const Block& block, int error, const std::string& text) {
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].wish, Wish::lock);
    EXPECT_EQ(block.unmet()[0].error, error);
    EXPECT_EQ(block.unmet()[0].text, text);
  }
};

TEST_F(LockAsNobody, BeyondTheLimitIsToldWithBoth) {
  with_limit(64_KiB, [] {
    Block block = Block::reserve(1_MiB, {.huge_pages = HugePages::never});
    block.commit(1_MiB);
    EXPECT_FALSE(block.lock());
    expect_unmet(block, ENOMEM, "lock: ENOMEM (requested 1 MiB, limit 64 KiB)");
    Pattern(1).write(block.data(), 1_MiB);  // it works without the lock
  });
}

TEST_F(LockAsNobody, WithinTheLimitIsHad) {
  with_limit(64_KiB, [] {
    Block block = Block::reserve(32_KiB, {.lock = true});
    block.commit(32_KiB);
    EXPECT_TRUE(block.unmet().empty());
    EXPECT_TRUE(has_flag(block.data(), 32_KiB, "lo"));
  });
}

TEST_F(LockAsNobody, WithoutAnyLimitLeftIsRefused) {
  with_limit(0, [] {
    Block block = Block::create_shared(32_KiB, {.lock = true});
    block.commit(32_KiB);
    expect_unmet(block, EPERM, "lock: EPERM (requested 32 KiB, limit 0 B)");
  });
}

// Unmet wishes of a tape are in its figures as well.
TEST_F(LockAsNobody, IsInTheFiguresOfATape) {
  with_limit(64_KiB, [] {
    Tape tape = Tape::start(1_MiB, {.name = "t", .commit_step = 32_KiB, .block = {.lock = true}});
    constexpr auto kLock = static_cast<std::size_t>(Wish::lock);
    EXPECT_EQ(tape.stat().unmet[kLock], 0);
    EXPECT_NE(tape.try_take(512_KiB), nullptr);
    EXPECT_EQ(tape.stat().unmet[kLock], ENOMEM);
    expect_unmet(tape.block(), ENOMEM, "lock: ENOMEM (requested 480 KiB, limit 64 KiB)");
  });
}

TEST(AsNobody, AFileThatMayNotBeReadIsAnErrorWithItsPath) {
  const TempFolder folder;
  const std::filesystem::path secret = folder.write("secret", "content");
  const std::filesystem::path inside = folder.write("closed/a", "content");
  std::filesystem::permissions(secret, std::filesystem::perms::none);
  std::filesystem::permissions(inside.parent_path(), std::filesystem::perms::none);
  as_nobody([&] {
    const NothingLeft check;
    for (const std::filesystem::path& path : {secret, inside}) {
      const auto error = thrown<SystemError>([&] { return Block::map_file(path); });
      EXPECT_EQ(error.number(), EACCES);
      EXPECT_EQ(error.call(), "open");
      EXPECT_EQ(error.path(), path.string());
    }
  });
  std::filesystem::permissions(inside.parent_path(), std::filesystem::perms::owner_all);
}

// The owner of a file may write to it, others may read it; both can map it.
TEST(AsNobody, AFileOfSomebodyElseIsMappedAndWarmed) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("model", std::string(8 * kPage, 'x'));
  std::filesystem::permissions(path, std::filesystem::perms(0444));
  as_nobody([&] {
    Block block = Block::map_file(path);
    const WarmResult result = block.warm(0, 8 * kPage, {.threads = 1});
    EXPECT_TRUE(result);
    EXPECT_EQ(result.present.value_or(8 * kPage), 8 * kPage);
    EXPECT_TRUE(all_bytes_are(block.data(), 8 * kPage, 'x'));
  });
}

// A process may read the present bits of its own pages; only page frame numbers need root.
TEST(AsNobody, ResidencyIsKnownOrSaidToBeUnknown) {
  as_nobody([] {
    Block block = Block::reserve(8 * kPage, {.huge_pages = HugePages::never});
    block.commit(8 * kPage);
    block.data()[0] = block.data()[3 * kPage] = std::byte{1};
    EXPECT_EQ(block.residency(0, 8 * kPage).present.value_or(2 * kPage), 2 * kPage);
    const WarmResult result = block.warm(0, 8 * kPage, {.threads = 1});
    EXPECT_TRUE(result);
    EXPECT_EQ(result.present.value_or(8 * kPage), 8 * kPage);
  });
}

// A process that changed its user without an exec must not read its own page table.
TEST(AsNobody, ResidencyIsUnknownWhereTheKernelDoesNotTell) {
  if (!is_root()) GTEST_SKIP() << "only root can become a user that must not read its page table";
  as_nobody([] {
    ASSERT_EQ(::prctl(PR_SET_DUMPABLE, 0), 0);
    Block block = Block::reserve(8 * kPage);
    block.commit(8 * kPage);
    const Residency residency = block.residency(0, 8 * kPage);
    EXPECT_EQ(residency.present, std::nullopt);
    EXPECT_EQ(residency.huge.value_or(0), 0U);
    const WarmResult result = block.warm(0, 8 * kPage, {.threads = 1});
    EXPECT_TRUE(result);
    EXPECT_EQ(result.warmed, 8 * kPage);
    EXPECT_EQ(result.present, std::nullopt);
  });
}

TEST(AsNobody, TheBudgetIsKnown) {
  as_nobody([] {
    const auto budget = os::memory_budget();
    ASSERT_TRUE(budget);
    EXPECT_GT(budget->available, 0U);
  });
}

TEST(AsNobody, ExplicitHugePagesAreHadOrToldToBeMissing) {
  if (pool_page() == 0) GTEST_SKIP() << "this kernel has no huge pages";
  const HugePagePool pool(is_root() ? 2 : 0);
  as_nobody([] {
    const std::size_t huge = pool_page();
    Block block = Block::reserve(huge, {.huge_pages = HugePages::explicit_pages});
    block.commit(huge);
    Pattern(1).write(block.data(), huge);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), huge));
    const bool had = block.page_size() == huge;
    EXPECT_EQ(had, block.unmet().empty());
    EXPECT_EQ(had, mappings_in(block.data(), 1).front().kernel_page_kib * 1024 == huge);
  });
}

// Memory that one user creates, and another one uses through its descriptor.
TEST(AsNobody, SharedMemoryIsForWhoeverHasItsDescriptor) {
  Block owner = Block::create_shared(4 * kPage);
  owner.commit(4 * kPage);
  Pattern(1).write(owner.data(), 4 * kPage);
  as_nobody([&] {
    Block opened = Block::open_shared(owner.descriptor(), true);
    EXPECT_TRUE(Pattern(1).is_at(opened.data(), 4 * kPage));
    EXPECT_TRUE(opened.warm(0, 4 * kPage, {.threads = 1}));
    Pattern(2).write(opened.data(), 4 * kPage);
  });
  EXPECT_TRUE(Pattern(2).is_at(owner.data(), 4 * kPage));
}

TEST(Limits, TooFewAddressesAreAnErrorThatSaysHowManyWereAsked) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the addresses that this test removes";
  in_child([] {
    limit(RLIMIT_AS, number_of("/proc/self/status", "VmSize:") * 1024 + 64_MiB);
    const Holdings before = holdings();
    for (const std::function<void()>& make : std::vector<std::function<void()>>{
             [] { static_cast<void>(Block::reserve(1_GiB, {.huge_pages = HugePages::never})); },
             [] { static_cast<void>(Block::create_shared(1_GiB)); },
             [] { static_cast<void>(Tape::start(1_GiB, {.block = {.guard_pages = true}})); },
             [] { static_cast<void>(Tape::start_warm(1_GiB)); }}) {
      const auto error = thrown<OutOfMemory>(make);
      EXPECT_EQ(error.limit(), "RLIMIT_AS");
      EXPECT_GE(error.needed(), 1_GiB);
      EXPECT_LE(error.needed(), 1_GiB + 4_MiB);  // including guards and alignment
      EXPECT_LE(error.available(), 65_MiB);
    }
    EXPECT_TRUE(same(before, holdings()));
    Block block = Block::reserve(1_MiB, {.huge_pages = HugePages::never});
    block.commit(1_MiB);
  });
}

// The kernel would also raise SIGXFSZ, which ends a process.
TEST(Limits, TooLargeASharedFileIsAnErrorOfCreation) {
  in_child([] {
    limit(RLIMIT_FSIZE, 1_MiB);
    const auto error = thrown<SystemError>([] { (void)Block::create_shared(2_MiB); });
    EXPECT_EQ(error.number(), EFBIG);
    EXPECT_EQ(Block::create_shared(1_MiB).size(), 1_MiB);
  });
}

TEST(Limits, TooLittleDataIsAnErrorOfCommit) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the memory that this test removes";
  in_child([] {
    Block block = Block::reserve(1_GiB);
    block.commit(1_MiB);
    Pattern(1).write(block.data(), 1_MiB);
    limit(RLIMIT_DATA, number_of("/proc/self/status", "VmData:") * 1024 + 64_MiB);
    const auto error = thrown<OutOfMemory>([&] { block.commit(1_GiB); });
    EXPECT_EQ(error.limit(), "RLIMIT_DATA");
    EXPECT_EQ(error.needed(), 1_GiB - 1_MiB);
    EXPECT_LE(error.available(), 65_MiB);
    EXPECT_EQ(block.committed(), 1_MiB);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 1_MiB));
    block.commit(2_MiB);
  });
}

TEST(Limits, TooFewDescriptorsAreAnError) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", "content");
  in_child([&] {
    const Block owner = Block::create_shared(kPage);
    limit(RLIMIT_NOFILE, static_cast<std::size_t>(::dup(0)));
    const auto expect_too_many = [](const std::string& call, const std::function<Block()>& make) {
      const auto error = thrown<SystemError>([&] { return make(); });
      EXPECT_EQ(error.number(), EMFILE);
      EXPECT_EQ(error.call(), call);
    };
    expect_too_many("open", [&] { return Block::map_file(path); });
    expect_too_many("fcntl", [&] { return Block::open_shared(owner.descriptor(), true); });
    expect_too_many("memfd_create", [] { return Block::create_shared(kPage); });
    Block block = Block::reserve(4 * kPage);  // needs no limit
    block.commit(4 * kPage);
    EXPECT_EQ(block.residency(0, 4 * kPage).present, std::nullopt);
    EXPECT_TRUE(block.warm(0, 4 * kPage, {.threads = 1}));
  });
}

// A warm with fewer threads than requested is only slower.
TEST(Limits, TooFewThreadsWarmAsWell) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer starts threads of its own";
  if (!is_root()) GTEST_SKIP() << "the limit counts all threads of the user";
  as_nobody([] {
    limit(RLIMIT_NPROC, 0);
    Block block = Block::reserve(64 * kPage);
    block.commit(64 * kPage);
    const WarmResult result = block.warm(0, 64 * kPage, {.threads = 4, .chunk = kPage});
    EXPECT_TRUE(result);
    EXPECT_EQ(result.warmed, 64 * kPage);
  });
}

}  // namespace
}  // namespace tapedeck::tests
