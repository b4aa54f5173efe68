#include "os/pages.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/memory_file.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

constexpr std::size_t kPages = 64;

/// Writable anonymous pages, none of them touched.
class FreshPages {
 public:
  FreshPages() {
    at_ = os::reserve(bytes()).at;
    EXPECT_EQ(os::allow_write(at_, bytes()), 0);
    EXPECT_EQ(os::advise(at_, bytes(), os::Advice::no_huge_pages), 0);
  }
  ~FreshPages() { EXPECT_EQ(os::unmap(at_, bytes()), 0); }
  FreshPages(const FreshPages&) = delete;
  FreshPages& operator=(const FreshPages&) = delete;

  [[nodiscard]] std::byte* at(std::size_t page) const { return at_ + page * kPage; }
  [[nodiscard]] static std::size_t bytes() { return kPages * kPage; }
  void touch(std::size_t page) const { *at(page) = std::byte{1}; }

 private:
  std::byte* at_ = nullptr;
};

TEST(PageStates, CountTouchedPages) {
  const FreshPages pages;
  for (const std::size_t page : {0U, 1U, 5U, 63U}) pages.touch(page);
  const auto states = os::page_states(pages.at(0), FreshPages::bytes());
  if (!states) GTEST_SKIP() << "the kernel does not tell";
  EXPECT_EQ(states->present, 4 * kPage);
  EXPECT_EQ(states->swapped, 0U);
  EXPECT_EQ(states->huge.value_or(0), 0U);
  EXPECT_EQ(os::page_states(pages.at(1), kPage)->present, kPage);
  EXPECT_EQ(os::page_states(pages.at(2), 3 * kPage)->present, 0U);
  EXPECT_EQ(os::page_states(pages.at(5) + 10, 20)->present, 20U);
  EXPECT_EQ(os::page_states(pages.at(0), 0)->present, 0U);
}

// As kernels before 6.7 answer.
TEST(PageStates, AreTheSameWithoutTheScan) {
  const FreshPages pages;
  for (std::size_t page = 0; page < kPages; page += 3) pages.touch(page);
  const auto scanned = os::page_states(pages.at(0), FreshPages::bytes());
  if (!scanned) GTEST_SKIP() << "the kernel does not tell";
  const os::InjectFault fault(2, ENOTTY);  // behind the open
  const auto read = os::page_states(pages.at(0), FreshPages::bytes());
  ASSERT_STREQ(os::InjectFault::victim(), "ioctl");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->present, scanned->present);
  EXPECT_EQ(read->swapped, scanned->swapped);
  EXPECT_FALSE(read->huge);
}

TEST(PageStates, AreUnknownWithoutPagemap) {
  const FreshPages pages;
  const os::InjectFault fault(1, EACCES);
  EXPECT_FALSE(os::page_states(pages.at(0), FreshPages::bytes()));
}

TEST(NodeBytes, AreThoseOfPresentPages) {
  const FreshPages pages;
  for (const std::size_t page : {2U, 3U, 4U}) pages.touch(page);
  std::vector<std::uint64_t> nodes;
  if (!os::add_node_bytes(pages.at(0), FreshPages::bytes(), nodes)) {
    GTEST_SKIP() << "the kernel does not tell";
  }
  EXPECT_EQ(std::accumulate(nodes.begin(), nodes.end(), std::uint64_t{0}), 3 * kPage);
}

TEST(PlaceOnNodes, PutsPagesThere) {
  const FreshPages pages;
  const unsigned node = 0;
  const int error = os::place_on_nodes(pages.at(0), FreshPages::bytes(), os::NodePolicy::bind,
                                       std::span(&node, 1));
  if (error != 0) GTEST_SKIP() << "mbind: errno " << error;
  pages.touch(7);
  std::vector<std::uint64_t> nodes;
  ASSERT_TRUE(os::add_node_bytes(pages.at(0), FreshPages::bytes(), nodes));
  EXPECT_EQ(nodes.at(0), kPage);
}

TEST(PlaceOnNodes, RefusesANodeThatIsNotThere) {
  const FreshPages pages;
  const unsigned node = 900;
  EXPECT_NE(os::place_on_nodes(pages.at(0), FreshPages::bytes(), os::NodePolicy::bind,
                               std::span(&node, 1)),
            0);
}

TEST(CachedFileBytes, FollowThePageCache) {
  const TempFolder folder;
  const std::size_t size = 100 * kPage + 5;
  const auto path = folder.write("f", std::string(size, 'x'));
  const os::Opened file = os::open_read(path);
  const auto cached = os::cached_file_bytes(file.descriptor.get(), 0, size);
  if (!cached) GTEST_SKIP() << "the kernel does not tell";
  EXPECT_EQ(*cached, size);
  EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), kPage, kPage), kPage);
  EXPECT_EQ(os::cached_file_bytes(file.descriptor.get(), 0, 0), 0U);
  EXPECT_EQ(::fsync(file.descriptor.get()), 0);
  EXPECT_EQ(::posix_fadvise(file.descriptor.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  EXPECT_LT(os::cached_file_bytes(file.descriptor.get(), 0, size).value(), size);
}

TEST(TouchPages, BringsThemIn) {
  const TempFolder folder;
  const std::size_t size = 3000 * kPage;  // more than one call takes
  const os::Opened file = os::open_read(folder.write("f", std::string(size, 'x')));
  const os::Mapped reserved = os::reserve(size);
  ASSERT_EQ(os::map_shared(file.descriptor.get(), size, os::Access::read, reserved.at).error, 0);
  EXPECT_EQ(os::touch_pages(reserved.at, size), 0);
  const auto states = os::page_states(reserved.at, size);
  EXPECT_EQ(states ? states->present : size, size);
  EXPECT_EQ(os::unmap(reserved.at, size), 0);
}

// Where reading would be SIGBUS.
TEST(TouchPages, SaysWhatIsBehindTheEndOfAFile) {
  const TempFolder folder;
  const std::size_t size = 8 * kPage;
  const auto path = folder.write("f", std::string(size, 'x'));
  const os::Opened file = os::open_read(path);
  const os::Mapped reserved = os::reserve(size);
  ASSERT_EQ(os::map_shared(file.descriptor.get(), size, os::Access::read, reserved.at).error, 0);
  std::filesystem::resize_file(path, kPage);
  EXPECT_EQ(os::touch_pages(reserved.at, size), EFAULT);
  EXPECT_EQ(os::unmap(reserved.at, size), 0);
}

/// Four pages; the second and the fourth are there.
class Pages : public ::testing::Test {
 protected:
  Pages() : at_(os::reserve(4 * kPage).at) {
    EXPECT_EQ(os::allow_write(at_, 4 * kPage), 0);
    EXPECT_EQ(os::advise(at_, 4 * kPage, os::Advice::no_huge_pages) & ~EINVAL, 0);
    at_[kPage] = at_[3 * kPage] = std::byte{1};
  }
  ~Pages() override { static_cast<void>(os::unmap(at_, 4 * kPage)); }

  std::byte* at_;
};

TEST_F(Pages, PresentBytesCountsPages) {
  if (!os::present_bytes(at_, kPage)) GTEST_SKIP() << "this kernel does not tell";
  EXPECT_EQ(os::present_bytes(at_, 4 * kPage), 2 * kPage);
  EXPECT_EQ(os::present_bytes(at_, kPage), 0U);
  EXPECT_EQ(os::present_bytes(at_ + kPage, kPage), kPage);
  EXPECT_EQ(os::present_bytes(at_ + 2 * kPage, 2 * kPage), kPage);
}

TEST_F(Pages, PresentBytesOfPartsOfPages) {
  if (!os::present_bytes(at_, kPage)) GTEST_SKIP() << "this kernel does not tell";
  EXPECT_EQ(os::present_bytes(at_ + kPage, 1), 1U);
  EXPECT_EQ(os::present_bytes(at_ + kPage + 100, 200), 200U);
  EXPECT_EQ(os::present_bytes(at_ + 100, 200), 0U);
  EXPECT_EQ(os::present_bytes(at_, 0), 0U);
}

// A page that was only read is the kernel's page of zeros; it counts as there, and a page that was
// dropped does not.
TEST_F(Pages, PresentBytesFollowsThePages) {
  if (!os::present_bytes(at_, kPage)) GTEST_SKIP() << "this kernel does not tell";
  ASSERT_EQ(os::advise(at_ + kPage, kPage, os::Advice::drop_pages), 0);
  EXPECT_EQ(os::present_bytes(at_, 4 * kPage), kPage);
}

// More pages than one read of the kernel's table takes.
TEST(PresentBytes, CountsLargeRanges) {
  const std::size_t bytes = 5000 * kPage;
  const os::Mapped mapped = os::reserve(bytes);
  ASSERT_EQ(os::allow_write(mapped.at, bytes), 0);
  static_cast<void>(os::advise(mapped.at, bytes, os::Advice::no_huge_pages));
  for (const std::size_t page : {0U, 4095U, 4096U, 4999U}) mapped.at[page * kPage] = std::byte{1};
  const auto present = os::present_bytes(mapped.at, bytes);
  EXPECT_EQ(present.value_or(4 * kPage), 4 * kPage);
  EXPECT_EQ(os::unmap(mapped.at, bytes), 0);
}

/// A memory file of 5000 pages, mapped; four pages of it were written by somebody.
class CachedPages : public ::testing::Test {
 protected:
  CachedPages() : at_(os::reserve(bytes_).at) {
    EXPECT_EQ(os::map_shared(file_.descriptor.get(), bytes_, os::Access::read, at_).error, 0);
    const std::byte one[] = {std::byte{1}};
    for (const off_t page : {0, 4095, 4096, 4999}) {
      ::lseek(file_.descriptor.get(), page * static_cast<off_t>(kPage), SEEK_SET);
      EXPECT_EQ(os::write_all(file_.descriptor.get(), one).error, 0);
    }
  }
  ~CachedPages() override { static_cast<void>(os::unmap(at_, bytes_)); }

  std::size_t bytes_ = 5000 * kPage;
  os::Opened file_ = os::create_memory_file("test", bytes_, 0);
  std::byte* at_;
};

// They are in RAM, and not in this process's page table.
TEST_F(CachedPages, AreCountedWhoeverBroughtThem) {
  EXPECT_EQ(os::cached_bytes(at_, bytes_), 4 * kPage);
  EXPECT_EQ(os::present_bytes(at_, bytes_).value_or(0), 0U);
  EXPECT_EQ(os::cached_bytes(at_, kPage), kPage);
  EXPECT_EQ(os::cached_bytes(at_ + kPage, 4094 * kPage), 0U);
  EXPECT_EQ(os::cached_bytes(at_, 100), 100U);
  EXPECT_EQ(os::cached_bytes(at_, 0), 0U);
}

TEST_F(CachedPages, AreUnknownWhereTheKernelDoesNotTell) {
  EXPECT_EQ(os::cached_bytes(at_ + 1, kPage), std::nullopt);  // it wants whole pages
  const os::InjectFault fault(1, EPERM);
  EXPECT_EQ(os::cached_bytes(at_, bytes_), std::nullopt);
  EXPECT_STREQ(os::InjectFault::victim(), "mincore");
}

TEST_F(Pages, WhatCannotBeReadIsUnknown) {
  for (const std::uint64_t k : {1U, 2U}) {
    const os::InjectFault fault(k, EACCES);
    EXPECT_EQ(os::present_bytes(at_, kPage), std::nullopt);
    EXPECT_EQ(std::string(os::InjectFault::victim()), k == 1 ? "open" : "pread");
  }
  for (const std::uint64_t k : {1U, 2U, 3U}) {
    const os::InjectFault fault(k, EACCES);
    EXPECT_EQ(os::huge_bytes(at_, kPage), std::nullopt) << k;
  }
}

TEST_F(Pages, HugeBytesOfSmallPagesAreNone) { EXPECT_EQ(os::huge_bytes(at_, 4 * kPage), 0U); }

TEST(HugeBytes, CountTransparentHugePages) {
  const std::size_t huge = os::huge_page_size();
  if (huge == 0) GTEST_SKIP() << "this kernel has no huge pages";
  const os::Mapped mapped = os::reserve(3 * huge);
  const auto first = reinterpret_cast<std::uintptr_t>(mapped.at);
  std::byte* at = mapped.at + (huge - first % huge) % huge;
  ASSERT_EQ(os::allow_write(at, 2 * huge), 0);
  const bool advised = os::advise(at, 2 * huge, os::Advice::huge_pages) == 0;
  at[0] = at[huge] = std::byte{1};
  const std::size_t count = os::huge_bytes(at, 2 * huge).value_or(0);
  const std::size_t present = os::present_bytes(at, 2 * huge).value_or(2 * kPage);
  EXPECT_EQ(os::unmap(mapped.at, 3 * huge), 0);
  if (!advised || present == 2 * kPage) GTEST_SKIP() << "the kernel had no huge page to give";
  EXPECT_EQ(count, present / huge * huge);
}

}  // namespace
}  // namespace tapedeck::tests
