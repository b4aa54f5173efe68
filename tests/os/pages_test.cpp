// SPDX-License-Identifier: Apache-2.0
#include "os/pages.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "os/addresses.hpp"
#include "os/fault_in.hpp"
#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/memory_file.hpp"
#include "os/overlay.hpp"
#include "os/rights.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

constexpr std::size_t kPages = 5000;  // more than one read of the kernel's table returns

// The answer on kernels before 6.7.
os::PageStates states_by_entries(const std::byte* at, std::size_t bytes) {
  const os::InjectFault fault(2, ENOTTY);  // after the open
  const os::PageStates states = os::page_states(at, bytes);
  EXPECT_STREQ(os::InjectFault::victim(), "ioctl");
  EXPECT_FALSE(states.huge);
  return states;
}

TEST(PageStates, CountTouchedPages) {
  for (const auto ask : {os::page_states, states_by_entries}) {
    const FreshPages pages(kPages);
    for (const std::size_t page : {0U, 1U, 5U, 4095U, 4096U, 4999U}) pages.touch(page);
    const os::PageStates states = ask(pages.at(), pages.bytes());
    if (!states.present) GTEST_SKIP() << "the kernel does not report residency";
    EXPECT_EQ(states.present, 6 * kPage);
    EXPECT_EQ(states.swapped, 0U);
    EXPECT_EQ(states.huge.value_or(0), 0U);
    EXPECT_EQ(ask(pages.page(1), kPage).present, kPage);
    EXPECT_EQ(ask(pages.page(2), 3 * kPage).present, 0U);
    EXPECT_EQ(ask(pages.page(5) + 10, 20).present, 20U);
    EXPECT_EQ(ask(pages.page(2) + 10, 20).present, 0U);
    ASSERT_EQ(os::advise(pages.page(5), kPage, os::Advice::drop_pages), 0);
    EXPECT_EQ(ask(pages.at(), pages.bytes()).present, 5 * kPage);
  }
  EXPECT_EQ(os::page_states(nullptr, 0).present, 0U);
}

// What was read and never written is the page of zeros that all processes share.
TEST(PageStates, TellThePageOfZerosApart) {
  const FreshPages pages(8);
  pages.touch(1);
  EXPECT_EQ(os::touch_pages(pages.at(), 4 * kPage), 0);
  const os::PageStates states = os::page_states(pages.at(), pages.bytes());
  if (!states.zeros) GTEST_SKIP() << "the kernel does not report the page of zeros";
  EXPECT_EQ(states.present, 4 * kPage);
  EXPECT_EQ(states.zeros, 3 * kPage);
  EXPECT_FALSE(states_by_entries(pages.at(), pages.bytes()).zeros);
}

TEST(PageStates, AreUnknownWithoutPagemapAndBeyondTheAddressesOfProcesses) {
  const auto* const beyond = reinterpret_cast<const std::byte*>(~std::uintptr_t{0} << 47);
  EXPECT_FALSE(os::page_states(beyond, kPage).present);
  const FreshPages pages(1);
  const os::InjectFault fault(1, EACCES);
  EXPECT_FALSE(os::page_states(pages.at(), kPage).present);
  EXPECT_STREQ(os::InjectFault::victim(), "open");
}

TEST(NodeBytes, AreThoseOfPresentPages) {
  const FreshPages pages(64);
  for (const std::size_t page : {2U, 3U, 4U}) pages.touch(page);
  std::vector<std::uint64_t> nodes;
  if (!os::add_node_bytes(pages.at(), pages.bytes(), nodes)) {
    GTEST_SKIP() << "the kernel does not report residency";
  }
  EXPECT_EQ(std::accumulate(nodes.begin(), nodes.end(), std::uint64_t{0}), 3 * kPage);
}

TEST(PlaceOnNodes, PutsPagesThere) {
  const FreshPages pages(64);
  const unsigned node = 0;
  const int error =
      os::place_on_nodes(pages.at(), pages.bytes(), os::NodePolicy::bind, std::span(&node, 1));
  if (error != 0) GTEST_SKIP() << "mbind: errno " << error;
  pages.touch(7);
  std::vector<std::uint64_t> nodes;
  ASSERT_TRUE(os::add_node_bytes(pages.at(), pages.bytes(), nodes));
  EXPECT_EQ(nodes.at(0), kPage);
}

TEST(PlaceOnNodes, RefusesANodeThatIsNotThere) {
  const FreshPages pages(64);
  const unsigned node = 900;
  EXPECT_NE(
      os::place_on_nodes(pages.at(), pages.bytes(), os::NodePolicy::bind, std::span(&node, 1)), 0);
}

TEST(CachedFileBytes, FollowThePageCache) {
  const TempFolder folder;
  const std::size_t size = 100 * kPage + 5;
  const auto path = folder.write("f", std::string(size, 'x'));
  const os::Opened file = os::open(path, os::OpenFor::reading);
  const auto cached = os::cached_file_bytes(file.descriptor.get(), 0, size);
  if (!cached) GTEST_SKIP() << "the kernel does not report residency";
  EXPECT_EQ(*cached, size);
  EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), kPage, kPage), kPage);
  EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), 0, 0), 0U);
  EXPECT_EQ(::fsync(file.descriptor.get()), 0);
  EXPECT_EQ(::posix_fadvise(file.descriptor.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  EXPECT_LT(os::cached_file_bytes(file.descriptor.get(), 0, size).value(), size);
}

// Of a file of another owner, mincore reports all pages, cached or not.
TEST(CachedFileBytes, AreKnownToTheOwnerAndToUsersWhoMayWrite) {
  if (!is_root()) GTEST_SKIP() << "only root can give a file to another user";
  struct Row {
    const char* what;
    unsigned mode;
    bool known;
  };
  const Row rows[] = {{"may be read", 0444, false}, {"may be written", 0666, true}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const TempFolder folder;
    const auto path = folder.write("f", std::string(4 * kPage, 'x'));
    std::filesystem::permissions(path, std::filesystem::perms(row.mode));
    const auto expected = row.known ? std::optional<std::uint64_t>(4 * kPage) : std::nullopt;
    as_nobody([&] {
      const os::Opened file = os::open(path, os::OpenFor::reading);
      EXPECT_EQ(os::mincore_reports(file.descriptor.get()), row.known);
      EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), 0, 4 * kPage), expected);
    });
  }
}

// The pages of an overlay's file are those of the file below it: its own file has none.
TEST(CachedFileBytes, OfAnOverlayAreThoseOfTheFileBelow) {
  if (!may_mount_overlay()) GTEST_SKIP() << "this process may not mount an overlay";
  const TempFolder lower;
  lower.write("f", std::string(4 * kPage, 'x'));
  const TempFolder folder;
  in_child([&] {
    const auto path = mount_overlay(lower.path(), folder) / "f";
    const os::Opened file = os::open(path, os::OpenFor::reading);
    EXPECT_EQ(os::file_system(file.descriptor.get()).name, "overlay");
    EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), 0, 4 * kPage), 4 * kPage);
  });
}

TEST(CachedFileBytes, OfAnOverlayAreUnknownToOthersThanTheOwner) {
  if (!is_root()) GTEST_SKIP() << "only root can give a file to another user";
  if (!may_mount_overlay()) GTEST_SKIP() << "this process may not mount an overlay";
  const TempFolder lower;
  lower.write("f", std::string(4 * kPage, 'x'));
  const TempFolder folder;
  in_child([&] {
    const auto path = mount_overlay(lower.path(), folder) / "f";
    become_nobody();
    const os::Opened file = os::open(path, os::OpenFor::reading);
    EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), 0, 4 * kPage), std::nullopt);
  });
}

// mincore counts the pages of the pool that a mapping brought in, and a new mapping has none.
TEST(CachedFileBytes, OfThePoolOfHugePagesAreUnknown) {
  const std::size_t huge = os::huge_page_size();
  const os::Opened file = os::create_memory_file("test", huge, huge);
  if (huge == 0 || file.error != 0) GTEST_SKIP() << "this host has no pool of huge pages";
  EXPECT_FALSE(os::mincore_reports(file.descriptor.get()));
  EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), 0, huge), std::nullopt);
}

/// A mapped memory file of 5000 pages, four of which were written through another mapping.
class CachedPages : public ::testing::Test {
 protected:
  CachedPages() {
    EXPECT_EQ(os::map_shared(file_.descriptor.get(), bytes_, os::Access::read, at_).error, 0);
    const std::byte one[] = {std::byte{1}};
    for (const off_t page : {0, 4095, 4096, 4999}) {
      ::lseek(file_.descriptor.get(), page * static_cast<off_t>(kPage), SEEK_SET);
      EXPECT_EQ(os::write_all(file_.descriptor.get(), one).error, 0);
    }
  }

  std::size_t bytes_ = kPages * kPage;
  os::Opened file_ = os::create_memory_file("test", bytes_, 0);
  Addresses range_{bytes_};
  std::byte* at_ = range_.at();
};

// They are in RAM, but not in this process's page table.
TEST_F(CachedPages, AreCountedWhoeverBroughtThem) {
  EXPECT_EQ(os::cached_bytes(at_, bytes_), 4 * kPage);
  EXPECT_EQ(os::page_states(at_, bytes_).present.value_or(0), 0U);
  EXPECT_EQ(os::cached_bytes(at_, kPage), kPage);
  EXPECT_EQ(os::cached_bytes(at_ + kPage, 4094 * kPage), 0U);
  EXPECT_EQ(os::cached_bytes(at_, 100), 100U);
  EXPECT_EQ(os::cached_bytes(at_, 0), 0U);
}

TEST(CachedFileBytes, AreTheSameHoweverTheKernelIsAsked) {
  struct Row {
    const char* what;
    std::uint64_t failing;  ///< The call that fails, from 1.
    const char* call;
  };
  const Row rows[] = {
      {"the kernel reports it", 0, ""},
      {"the file system is unknown, so a mapping is asked", 1, "fstatfs"},
      {"the kernel is old or refuses, so a mapping is asked", 2, "cachestat"},
  };
  const os::Opened file = os::create_memory_file("test", 20 * kPage, 0, true);
  const int descriptor = file.descriptor.get();
  ASSERT_EQ(::pwrite(descriptor, "x", 1, 0), 1);
  ASSERT_EQ(::pwrite(descriptor, "xx", 2, static_cast<off_t>(5 * kPage - 1)), 2);
  ASSERT_EQ(os::seal(descriptor), 0);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const auto cached = [&](std::uint64_t offset, std::uint64_t bytes) {
      const os::InjectFault fault(row.failing, ENOSYS);
      const auto answer = os::cached_file_bytes(descriptor, offset, bytes);
      EXPECT_STREQ(os::InjectFault::victim(), row.call);
      return answer;
    };
    EXPECT_EQ(cached(0, 20 * kPage), 3 * kPage);
    EXPECT_EQ(cached(kPage, 3 * kPage), 0U);
    EXPECT_EQ(cached(3 * kPage, 2 * kPage), kPage);
    EXPECT_EQ(cached(4 * kPage + 10, 20), 20U);
    EXPECT_EQ(cached(5 * kPage, 15 * kPage), kPage);
  }
}

TEST_F(CachedPages, AreUnknownWhereTheKernelDoesNotTell) {
  EXPECT_EQ(os::cached_bytes(at_ + 1, kPage), std::nullopt);  // whole pages are required
  const os::InjectFault fault(1, EPERM);
  EXPECT_EQ(os::cached_bytes(at_, bytes_), std::nullopt);
  EXPECT_STREQ(os::InjectFault::victim(), "mincore");
}

TEST(HugeBytes, OfSmallPagesAreNone) {
  const FreshPages pages(4);
  pages.touch(1);
  EXPECT_EQ(os::huge_bytes(pages.at(), pages.bytes()), 0U);
  for (const std::uint64_t k : {1U, 2U, 3U}) {
    const os::InjectFault fault(k, EACCES);
    EXPECT_EQ(os::huge_bytes(pages.at(), kPage), std::nullopt) << k;
  }
}

TEST(HugeBytes, CountTransparentHugePages) {
  const std::size_t huge = os::huge_page_size();
  if (huge == 0) GTEST_SKIP() << "this kernel has no huge pages";
  const Addresses range(3 * huge);
  std::byte* at = range.at_multiple_of(huge);
  ASSERT_EQ(os::allow_write(at, 2 * huge), 0);
  const bool advised = os::advise(at, 2 * huge, os::Advice::huge_pages) == 0;
  at[0] = at[huge] = std::byte{1};
  const std::size_t count = os::huge_bytes(at, 2 * huge).value_or(0);
  const std::size_t present = os::page_states(at, 2 * huge).present.value_or(2 * kPage);
  if (!advised || present == 2 * kPage) GTEST_SKIP() << "the kernel had no free huge page";
  EXPECT_EQ(count, present / huge * huge);
}

// Regression: every page of such a file was asked for, which took 20 seconds.
TEST(SparseTerabyte, CostsAFewCalls) {
  constexpr std::size_t kTerabyte = std::size_t{1} << 40;
  const TempFolder folder;
  const std::filesystem::path path = folder.write("sparse", "x");
  std::error_code error;
  std::filesystem::resize_file(path, kTerabyte, error);
  const os::Opened file = os::open(path, os::OpenFor::reading);
  void* const map =
      ::mmap(nullptr, kTerabyte, PROT_READ, MAP_SHARED | MAP_NORESERVE, file.descriptor.get(), 0);
  if (error || map == MAP_FAILED) GTEST_SKIP() << "no sparse file of 1 TiB can be mapped here";
  auto* const at = static_cast<std::byte*>(map);
  EXPECT_EQ(std::to_integer<int>(*static_cast<volatile std::byte*>(at + kTerabyte / 2)), 0);
  {
    const os::InjectFault count(0, 0);
    const os::PageStates states = os::page_states(at, kTerabyte);
    EXPECT_GE(states.present, kPage);
    std::vector<std::uint64_t> nodes;
    EXPECT_TRUE(os::add_node_bytes(at, kTerabyte, nodes));
    EXPECT_EQ(std::accumulate(nodes.begin(), nodes.end(), std::uint64_t{0}), states.present);
    // Before Linux 6.7, all entries of the page table are read.
    EXPECT_TRUE(!states.huge || os::InjectFault::calls() < 20) << os::InjectFault::calls();
  }
  for (const std::uint64_t refused : {0U, 1U, 2U, 3U}) {
    const os::InjectFault count(refused, ENOSYS);
    const auto cached = os::cached_file_bytes(file.descriptor.get(), 0, kTerabyte);
    EXPECT_TRUE(!cached || *cached >= kPage);  // unknown or exact
    EXPECT_LT(os::InjectFault::calls(), 20U);
  }
  ::munmap(map, kTerabyte);
}

}  // namespace
}  // namespace tapedeck::tests
