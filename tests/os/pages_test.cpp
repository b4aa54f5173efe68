#include "os/pages.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <numeric>
#include <vector>

#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"

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

}  // namespace
}  // namespace tapedeck::tests
