// SPDX-License-Identifier: Apache-2.0
#include "os/vm.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "os/addresses.hpp"
#include "os/child.hpp"
#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/huge_page_pool.hpp"
#include "os/memory_file.hpp"
#include "os/pages.hpp"
#include "os/rights.hpp"
#include "os/self.hpp"
#include "os/wrapper.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

TEST(Vm, KnowsThePageSizes) {
  EXPECT_EQ(os::page_size(), kPage);
  EXPECT_EQ(os::huge_page_size(), pool_page());
}

TEST(Reserve, GivesAddressesWithoutMemory) {
  const Addresses range(16 * kPage);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(range.at()) % kPage, 0U);
  EXPECT_EQ(access_of(range.at()), "---p");
  EXPECT_TRUE(has_flag(range.at(), 16 * kPage, "nr"));  // MAP_NORESERVE
  EXPECT_TRUE(faults_on_read(range.at()));
  EXPECT_EQ(os::page_states(range.at(), 16 * kPage).present.value_or(0), 0U);
}

TEST(Reserve, GivesErrno) {
  const os::Mapped mapped = os::reserve(std::size_t{1} << 61);
  EXPECT_EQ(mapped.error, ENOMEM);
  EXPECT_EQ(mapped.at, nullptr);
}

TEST(Unmap, TakesTheAddressesAway) {
  const os::Mapped mapped = os::reserve(kPage);
  EXPECT_EQ(os::unmap(mapped.at, kPage), 0);
  EXPECT_EQ(access_of(mapped.at), "none");
  EXPECT_EQ(os::unmap(mapped.at + 1, kPage), EINVAL);
}

TEST(Access, IsAllowedAndForbiddenPageByPage) {
  const Addresses range(4 * kPage);
  EXPECT_EQ(os::allow_write(range.at(kPage), 2 * kPage), 0);
  EXPECT_EQ(access_of(range.at()), "---p");
  EXPECT_EQ(access_of(range.at(kPage)), "rw-p");
  EXPECT_EQ(access_of(range.at(3 * kPage)), "---p");
  *range.at(kPage) = std::byte{7};
  EXPECT_EQ(os::forbid_access(range.at(kPage), kPage), 0);
  EXPECT_TRUE(faults_on_read(range.at(kPage)));
  EXPECT_EQ(os::allow_write(range.at(kPage), kPage), 0);
  EXPECT_EQ(*range.at(kPage), std::byte{7});  // removing access keeps the page
  EXPECT_EQ(os::allow_write(range.at() + 1, kPage), EINVAL);
  EXPECT_EQ(os::forbid_access(range.at() + 1, kPage), EINVAL);
}

TEST(ReserveAgain, DropsThePages) {
  const Addresses range(2 * kPage);
  ASSERT_EQ(os::allow_write(range.at(), 2 * kPage), 0);
  *range.at() = *range.at(kPage) = std::byte{7};
  EXPECT_EQ(os::reserve_again(range.at(kPage), kPage), 0);
  EXPECT_EQ(access_of(range.at(kPage)), "---p");
  EXPECT_EQ(*range.at(), std::byte{7});
  ASSERT_EQ(os::allow_write(range.at(kPage), kPage), 0);
  EXPECT_EQ(*range.at(kPage), std::byte{0});
  EXPECT_EQ(os::reserve_again(range.at() + 1, kPage), EINVAL);
}

TEST(MapShared, LiesOverReservedAddresses) {
  const os::Opened file = os::create_memory_file("test", kPage, 0);
  const Addresses range(2 * kPage);
  const os::Mapped mapped =
      os::map_shared(file.descriptor.get(), kPage, os::Access::write, range.at(kPage));
  ASSERT_EQ(mapped.error, 0);
  EXPECT_EQ(mapped.at, range.at(kPage));
  EXPECT_EQ(access_of(range.at()), "---p");
  EXPECT_EQ(access_of(mapped.at), "rw-s");
  *mapped.at = std::byte{9};
  std::byte read{};
  ASSERT_EQ(os::read_at(file.descriptor.get(), {&read, 1}, 0).bytes, 1U);
  EXPECT_EQ(read, std::byte{9});
}

TEST(MapShared, GivesTheAccessAskedFor) {
  const os::Opened file = os::create_memory_file("test", kPage, 0);
  const std::vector<std::pair<os::Access, std::string>> all = {
      {os::Access::none, "---s"}, {os::Access::read, "r--s"}, {os::Access::write, "rw-s"}};
  for (const auto& [access, text] : all) {
    const Addresses range(kPage);
    ASSERT_EQ(os::map_shared(file.descriptor.get(), kPage, access, range.at()).error, 0);
    EXPECT_EQ(access_of(range.at()), text);
  }
}

// The addresses must not become a hole, in which another thread's memory could be mapped.
TEST(MapShared, LeavesTheAddressesReservedWhereItIsRefused) {
  const os::Opened file = os::create_memory_file("test", kPage, 0);
  const Addresses range(kPage);
  const NothingLeft check;
  const os::Mapped refused = os::map_shared(-1, kPage, os::Access::read, range.at());
  EXPECT_EQ(refused.error, EBADF);
  EXPECT_STREQ(refused.call, "mmap");
  {
    const os::InjectFault fault(2, EDOM);
    const os::Mapped moved =
        os::map_shared(file.descriptor.get(), kPage, os::Access::read, range.at());
    EXPECT_EQ(moved.error, EDOM);
    EXPECT_STREQ(moved.call, os::InjectFault::victim());
  }
  EXPECT_EQ(access_of(range.at()), "---p");
}

TEST(MapHuge, TakesPagesOfThePool) {
  const HugePagePool pool(2);
  if (!pool.ready()) GTEST_SKIP() << "the host's pool of huge pages cannot be filled here";
  in_child([] {
    const std::size_t huge = pool_page();
    const Addresses range(3 * huge);
    std::byte* at = range.at_multiple_of(huge);
    ASSERT_EQ(os::map_huge(at, 2 * huge, huge), 0);
    *at = *(at + huge) = std::byte{1};
    EXPECT_EQ(mappings_in(at, huge).front().kernel_page_kib * 1024, huge);
    EXPECT_EQ(os::huge_bytes(at, 2 * huge), 2 * huge);
    EXPECT_EQ(os::page_states(at, 2 * huge).present, 2 * huge);
  });
}

TEST(MapHuge, IsRefusedBeyondThePool) {
  const HugePagePool pool(0);
  const std::size_t huge = pool_page();
  if (huge == 0) GTEST_SKIP() << "this kernel has no huge pages";
  if (number_of("/proc/sys/vm/nr_overcommit_hugepages", "") != 0) {
    GTEST_SKIP() << "this host makes huge pages on demand";
  }
  const std::size_t bytes = (pool_total() + 1) * huge;
  const Addresses range(bytes + huge);
  std::byte* at = range.at_multiple_of(huge);
  const NothingLeft check;
  EXPECT_EQ(os::map_huge(at, bytes, huge), ENOMEM);
  EXPECT_EQ(access_of(at), "---p");  // still reserved
}

TEST(Advise, ReachesTheKernel) {
  const std::vector<std::pair<os::Advice, const char*>> all = {{os::Advice::no_core_dump, "dd"},
                                                               {os::Advice::not_on_fork, "dc"},
                                                               {os::Advice::zero_on_fork, "wf"},
                                                               {os::Advice::no_huge_pages, "nh"},
                                                               {os::Advice::huge_pages, "hg"}};
  const bool has_huge = ::access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
  for (const auto& [advice, flag] : all) {
    const bool for_huge = advice == os::Advice::huge_pages || advice == os::Advice::no_huge_pages;
    if (for_huge && !has_huge) continue;
    const Addresses range(kPage);
    ASSERT_EQ(os::allow_write(range.at(), kPage), 0);
    EXPECT_EQ(os::advise(range.at(), kPage, advice), 0) << flag;
    EXPECT_TRUE(has_flag(range.at(), kPage, flag));
    EXPECT_EQ(os::advise(range.at() + 1, kPage, advice), EINVAL) << flag;
  }
}

TEST(Advise, DropsPages) {
  const Addresses range(kPage);
  ASSERT_EQ(os::allow_write(range.at(), kPage), 0);
  *range.at() = std::byte{7};
  EXPECT_EQ(os::advise(range.at(), kPage, os::Advice::drop_pages), 0);
  EXPECT_EQ(*range.at(), std::byte{0});
}

TEST(Lock, HoldsPagesInMemory) {
  const Addresses range(2 * kPage);
  ASSERT_EQ(os::allow_write(range.at(), 2 * kPage), 0);
  ASSERT_EQ(os::lock(range.at(), kPage), 0);
  if (!kSanitized) {  // whose mlock does nothing
    EXPECT_TRUE(has_flag(range.at(), kPage, "lo"));
    EXPECT_EQ(os::page_states(range.at(), kPage).present.value_or(kPage), kPage);
  }
  EXPECT_FALSE(any_has_flag(range.at(kPage), kPage, "lo"));
}

TEST(LockLimit, IsTheResourceLimit) {
  in_child([] {
    limit(RLIMIT_MEMLOCK, 12288);
    EXPECT_EQ(os::lock_limit(), 12288U);
    const rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0) return;  // only root can raise it again
    EXPECT_EQ(os::lock_limit(), std::numeric_limits<std::size_t>::max());
  });
}

TEST(Populate, MakesPagesResidentAndKeepsThem) {
  const Addresses range(4 * kPage);
  ASSERT_EQ(os::allow_write(range.at(), 4 * kPage), 0);
  *range.at(kPage) = std::byte{7};
  const int error = os::populate(range.at(), 4 * kPage, os::Access::write);
  if (error == EINVAL) GTEST_SKIP() << "this kernel has no MADV_POPULATE";
  ASSERT_EQ(error, 0);
  EXPECT_EQ(os::page_states(range.at(), 4 * kPage).present.value_or(4 * kPage), 4 * kPage);
  EXPECT_EQ(*range.at(kPage), std::byte{7});
}

TEST(Populate, GivesErrnoWhereThereIsNoAccess) {
  const Addresses range(kPage);
  EXPECT_NE(os::populate(range.at(), kPage, os::Access::write), 0);
  EXPECT_NE(os::populate(range.at() + 1, kPage, os::Access::read), 0);
}

TEST(Vm, EveryCallCanBeMadeToFail) {
  const Addresses range(kPage);
  const os::Opened file = os::create_memory_file("test", kPage, 0);
  std::byte* at = range.at();
  expect_each_can_fail({
      {"mmap", [] { return os::reserve(kPage).error; }},
      {"mmap",
       [&] { return os::map_shared(file.descriptor.get(), kPage, os::Access::write, at).error; }},
      {"mprotect", [&] { return os::allow_write(at, kPage); }},
      {"mprotect", [&] { return os::forbid_access(at, kPage); }},
      {"mmap", [&] { return os::reserve_again(at, kPage); }},
      {"mmap", [&] { return os::map_huge(at, kPage, std::size_t{2} << 20); }},
      {"madvise", [&] { return os::advise(at, kPage, os::Advice::no_core_dump); }},
      {"mlock", [&] { return os::lock(at, kPage); }},
      {"madvise", [&] { return os::populate(at, kPage, os::Access::write); }},
  });
  EXPECT_EQ(access_of(at), "---p");  // none of the calls had an effect
  EXPECT_FALSE(any_has_flag(at, kPage, "dd"));
}

}  // namespace
}  // namespace tapedeck::tests
