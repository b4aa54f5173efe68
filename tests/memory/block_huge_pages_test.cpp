// SPDX-License-Identifier: Apache-2.0
// Explicit huge pages, with the host's pool (which these tests fill if they run as root) and
// without.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <utility>

#include "memory/block_kinds.hpp"
#include "memory/hook_ledger.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/faults.hpp"
#include "os/huge_page_pool.hpp"
#include "os/self.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace {

const std::size_t kHuge = pool_page();

class HostsPool : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kHuge == 0) GTEST_SKIP() << "this kernel has no huge pages";
  }

  // The work runs in a child, so that the pool is restored whatever happens.
  static void with_pool(std::size_t pages, const std::function<void()>& work) {
    const HugePagePool pool(pages);
    if (!pool.ready()) GTEST_SKIP() << "the host's pool of huge pages cannot be filled here";
    in_child(work);
  }
  static void without_pool(const std::function<void()>& work) {
    const HugePagePool pool(0);
    if (number_of("/proc/sys/vm/nr_overcommit_hugepages", "") != 0) {
      GTEST_SKIP() << "this host makes huge pages on demand";
    }
    in_child(work);
  }
};

class ExplicitPages : public HostsPool, public ::testing::WithParamInterface<BlockMaker> {
 protected:
  [[nodiscard]] static Block make(std::size_t bytes, BlockOptions options = {}) {
    options.huge_pages = HugePages::explicit_pages;
    return GetParam().make(bytes, options);
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, ExplicitPages, kBlockKinds, name_of_kind);

void expect_backed_by(const std::byte* at, std::size_t bytes, std::size_t page) {
  std::size_t mapped = 0;
  for (const Mapping& one : mappings_in(at, bytes)) {
    EXPECT_EQ(one.kernel_page_kib * 1024, page);
    EXPECT_EQ(one.flags.contains("ht"), page == kHuge);
    mapped += one.end - one.begin;
  }
  EXPECT_GE(mapped, bytes);
}

TEST_P(ExplicitPages, AreHadFromThePool) {
  with_pool(4, [] {
    Block block = make(3 * kHuge + 1);
    EXPECT_EQ(block.size(), 4 * kHuge);
    block.commit(1);
    EXPECT_EQ(block.committed(), kHuge);
    EXPECT_EQ(block.page_size(), kHuge);
    EXPECT_TRUE(block.unmet().empty());
    block.commit(4 * kHuge);
    expect_backed_by(block.data(), 4 * kHuge, kHuge);
    Pattern(1).write(block.data(), 4 * kHuge);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kHuge));
    EXPECT_EQ(block.residency(0, 4 * kHuge).huge, 4 * kHuge);
    EXPECT_EQ(block.residency(0, 4 * kHuge).present.value_or(4 * kHuge), 4 * kHuge);
  });
}

TEST_P(ExplicitPages, GoBackToThePool) {
  with_pool(4, [] {
    std::size_t free = 0;
    {
      Block block = make(4 * kHuge);
      block.commit(4 * kHuge);
      Pattern(1).write(block.data(), 4 * kHuge);
      free = pool_free();
      EXPECT_EQ(block.decommit(kHuge + 1), 2 * kHuge);
      EXPECT_EQ(block.committed(), 2 * kHuge);
      EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kHuge));
      EXPECT_TRUE(faults_on_read(block.data() + 2 * kHuge));
      if (block.kind() == BlockKind::anonymous) {  // the pages of a memfd are still reserved for it
        EXPECT_TRUE(pool_has(free + 2));
      }
      block.commit(4 * kHuge);
      EXPECT_TRUE(all_bytes_are(block.data() + 2 * kHuge, 2 * kHuge, 0));
      EXPECT_EQ(block.page_size(), kHuge);
    }
    EXPECT_TRUE(pool_has(free + 4));
  });
}

TEST_P(ExplicitPages, FallBackWhereThePoolIsTooSmall) {
  without_pool([] {
    const std::size_t bytes = (pool_total() + 2) * kHuge;
    Block block = make(bytes);
    block.commit(bytes);
    EXPECT_EQ(block.committed(), bytes);
    EXPECT_EQ(block.page_size(), kPage);
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].wish, Wish::huge_pages);
    EXPECT_EQ(block.unmet()[0].error, ENOMEM);
    EXPECT_EQ(block.unmet()[0].text, "huge pages: ENOMEM (see /proc/sys/vm/nr_hugepages)");
    expect_backed_by(block.data(), bytes, kPage);
    Pattern(1).write(block.data(), kHuge);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), kHuge));
    EXPECT_GE(block.decommit(kPage), bytes - kHuge);
  });
}

// A kernel that cannot move huge pages says EINVAL, however full its pool is.
TEST_F(HostsPool, OfAnOldKernelIsNotCalledTooSmall) {
  for (const auto& [error, text] :
       {std::pair(EINVAL,
                  "huge pages: EINVAL (this kernel has none of the size, or is older than Linux "
                  "5.16 and cannot move them)"),
        std::pair(ENOMEM, "huge pages: ENOMEM (see /proc/sys/vm/nr_hugepages)"),
        std::pair(EPERM, "huge pages: EPERM")}) {
    Block block = Block::reserve(kHuge, {.huge_pages = HugePages::explicit_pages});
    const internal::os::InjectFault fault(1, error);
    block.commit(kHuge);
    EXPECT_STREQ(internal::os::InjectFault::victim(), "mmap");
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].text, text);
  }
}

// The first part keeps its huge pages, and the fallback of the rest is reported. (Shared memory has
// all of its pages from the start.)
TEST_F(HostsPool, AGrowthBeyondItFallsBack) {
  with_pool(4, [] {
    const std::size_t bytes = (pool_total() + 4) * kHuge;
    Block block = Block::reserve(bytes, {.huge_pages = HugePages::explicit_pages});
    block.commit(2 * kHuge);
    EXPECT_EQ(block.page_size(), kHuge);
    Pattern(1).write(block.data(), 2 * kHuge);
    block.commit(bytes);
    ASSERT_EQ(block.unmet().size(), 1U);
    EXPECT_EQ(block.unmet()[0].wish, Wish::huge_pages);
    EXPECT_EQ(block.page_size(), kPage);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kHuge));
    expect_backed_by(block.data(), 2 * kHuge, kHuge);
    expect_backed_by(block.data() + 2 * kHuge, bytes - 2 * kHuge, kPage);
    block.data()[bytes - 1] = std::byte{1};
    EXPECT_EQ(block.decommit(kHuge), bytes - kHuge);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), kHuge));
  });
}

TEST_P(ExplicitPages, WorkWithEverythingElseAsked) {
  with_pool(2, [] {
    HookLedger ledger;
    {
      Block block =
          make(2 * kHuge, ledger.with({.lock = true, .core_dump = false, .guard_pages = true}));
      block.commit(2 * kHuge);
      EXPECT_EQ(block.page_size(), kHuge);
      EXPECT_TRUE(has_flag(block.data(), 2 * kHuge, "dd"));
      Pattern(1).write(block.data(), 2 * kHuge);
      EXPECT_TRUE(block.warm(0, 2 * kHuge, {.threads = 1}));
      EXPECT_TRUE(Pattern(1).is_at(block.data(), 2 * kHuge));
      EXPECT_TRUE(faults_on_read(block.data() - 1));
      EXPECT_TRUE(faults_on_read(block.data() + 2 * kHuge));
    }
    EXPECT_EQ(ledger.open_bytes(), 0U);
    EXPECT_EQ(ledger.mistakes(), "");
  });
}

TEST_P(ExplicitPages, AHookThatThrowsLeavesTheBlockAsItWas) {
  with_pool(2, [] {
    const std::size_t free = pool_free();
    HookLedger ledger;
    Block block = make(2 * kHuge, ledger.with());
    const std::size_t page_before = block.page_size();
    ledger.refuse_next();
    EXPECT_FALSE(block.try_commit(2 * kHuge));
    EXPECT_EQ(block.committed(), 0U);
    EXPECT_EQ(block.page_size(), page_before);
    if (GetParam().kind == BlockKind::anonymous) {  // shared memory has its pages from the start
      EXPECT_TRUE(pool_has(free));
    }
    block.commit(2 * kHuge);
    EXPECT_EQ(block.page_size(), kHuge);
  });
}

TEST_F(HostsPool, ItsPagesAreSharedWithWhoOpensThem) {
  with_pool(2, [] {
    Block owner = Block::create_shared(2 * kHuge, {.huge_pages = HugePages::explicit_pages});
    owner.commit(2 * kHuge);
    Pattern(1).write(owner.data(), 2 * kHuge);
    // The kernel places blocks next to each other, so some are at odd multiples.
    for (int i = 0; i < 4; ++i) {
      const Block neighbour = Block::reserve(kPage);
      Block opened = Block::open_shared(owner.descriptor(), true, {.guard_pages = true});
      EXPECT_EQ(opened.size(), 2 * kHuge);
      EXPECT_EQ(opened.page_size(), kHuge);
      EXPECT_TRUE(opened.unmet().empty()) << opened.unmet()[0].text;
      EXPECT_TRUE(Pattern(1).is_at(opened.data(), 2 * kHuge));
      EXPECT_TRUE(faults_on_read(opened.data() + 2 * kHuge));
      EXPECT_EQ(opened.decommit(0), 2 * kHuge);
    }
    EXPECT_TRUE(Pattern(1).is_at(owner.data(), 2 * kHuge));
  });
}

}  // namespace
}  // namespace tapedeck::tests
