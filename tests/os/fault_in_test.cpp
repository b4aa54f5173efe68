// SPDX-License-Identifier: Apache-2.0
// Memory that may be missing or protected is brought in, or gives errno; it never raises a signal.
#include "os/fault_in.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "os/addresses.hpp"
#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/mappings.hpp"
#include "os/memory_file.hpp"
#include "os/pages.hpp"
#include "os/proc_text.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

constexpr std::size_t kPagesOfRange = 8;
const std::size_t kBytes = kPagesOfRange * kPage;

void protect(std::byte* at, std::size_t pages, int protection) {
  ASSERT_EQ(::mprotect(at, pages * kPage, protection), 0);
}

void map(std::byte* at, int protection, int flags, int descriptor) {
  ASSERT_EQ(::mmap(at, kBytes, protection, flags | MAP_FIXED, descriptor, 0), at);
}

/// Maps a file of 8 pages, which then has only `pages` of them.
void map_file(std::byte* at, int protection, int flags, std::size_t pages = kPagesOfRange) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("f", std::string(kBytes, 'x'));
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  map(at, protection, flags, descriptor);
  std::filesystem::resize_file(path, pages * kPage);
  ::close(descriptor);
}

void map_memory_file(std::byte* at, int protection, bool sealed) {
  const os::Opened file = os::create_memory_file("test", kBytes, 0, true);
  ASSERT_EQ(file.error, 0);
  if (sealed) {
    ASSERT_EQ(os::seal(file.descriptor.get()), 0);
  }
  map(at, protection, MAP_SHARED, file.descriptor.get());
}

void make_writable(std::byte* at) { protect(at, kPagesOfRange, PROT_READ | PROT_WRITE); }

struct Range {
  const char* name;
  void (*make)(std::byte* at);
  int error = 0;
  std::size_t written = 0;  ///< Pages that are private and were written; the others were read.
};

const Range kRanges[] = {
    {"writable", make_writable, 0, 8},
    {"for writing only", [](std::byte* at) { protect(at, kPagesOfRange, PROT_WRITE); }, 0, 8},
    {"read-only", [](std::byte* at) { protect(at, kPagesOfRange, PROT_READ); }},
    {"read-only inside",
     [](std::byte* at) {
       make_writable(at);
       protect(at + 4 * kPage, 1, PROT_READ);
     },
     0, 7},
    {"without access", [](std::byte*) {}, EACCES},
    {"without access inside",
     [](std::byte* at) {
       make_writable(at);
       protect(at + 4 * kPage, 1, PROT_NONE);
     },
     EACCES},
    {"unmapped inside",
     [](std::byte* at) {
       make_writable(at);
       ASSERT_EQ(::munmap(at + 4 * kPage, kPage), 0);
     },
     ENOMEM},
    {"unmapped behind read-only",
     [](std::byte* at) {
       protect(at, kPagesOfRange, PROT_READ);
       ASSERT_EQ(::munmap(at + 4 * kPage, kPage), 0);
     },
     ENOMEM},
    {"private, of a file", [](std::byte* at) { map_file(at, PROT_READ | PROT_WRITE, MAP_PRIVATE); },
     0, 8},
    {"private, of a file, read-only", [](std::byte* at) { map_file(at, PROT_READ, MAP_PRIVATE); }},
    {"private, of a file that ends after a page",
     [](std::byte* at) { map_file(at, PROT_READ | PROT_WRITE, MAP_PRIVATE, 1); }, EFAULT},
    {"private, of a file that ends after a page, read-only",
     [](std::byte* at) { map_file(at, PROT_READ, MAP_PRIVATE, 1); }, EFAULT},
    {"shared, of a file that ends after a page",
     [](std::byte* at) { map_file(at, PROT_READ | PROT_WRITE, MAP_SHARED, 1); }, EFAULT},
    {"shared memory", [](std::byte* at) { map_memory_file(at, PROT_READ | PROT_WRITE, false); }},
    {"sealed memory", [](std::byte* at) { map_memory_file(at, PROT_READ, true); }},
};

/// Bytes that are this process's own, since it wrote them.
std::size_t own_bytes(const std::byte* at) {
  std::size_t kib = 0;
  for (const Mapping& mapping : mappings_in(at, kBytes)) kib += mapping.anonymous_kib;
  return kib * 1024;
}

void expect_fault_in(const Range& row, bool old_kernel) {
  SCOPED_TRACE(std::string(row.name) + (old_kernel ? ", on an old kernel" : ""));
  // Between pages without access, so that the kernel merges it with no other mapping.
  const Addresses addresses(kBytes + 2 * kPage);
  std::byte* const at = addresses.at(kPage);
  row.make(at);
  {
    const os::InjectFault fault(old_kernel ? 1 : 0, EINVAL);
    EXPECT_EQ(os::fault_in(at, kBytes, os::Access::write), row.error);
    EXPECT_STREQ(os::InjectFault::victim(), old_kernel ? "madvise" : "");
  }
  if (row.error != 0) return;
  EXPECT_EQ(os::page_states(at, kBytes).present.value_or(kBytes), kBytes);
  EXPECT_EQ(own_bytes(at), row.written * kPage);
}

TEST(FaultIn, BringsInWhatCanBeAccessedAndSaysWhatCannot) {
  for (const Range& row : kRanges) {
    for (const bool old_kernel : {false, true}) expect_fault_in(row, old_kernel);
  }
}

TEST(FaultIn, LeavesTheMemoryOfADeviceAsItIs) {
  const std::string maps = text_of("/proc/self/maps");
  const bool found = os::any_part(maps, '\n', [](std::string_view line) {
    if (!line.ends_with("[vvar]")) return false;
    const os::AddressRange range = os::mapping_of(line).value().addresses;
    EXPECT_EQ(os::fault_in(reinterpret_cast<std::byte*>(range.begin), range.end - range.begin,
                           os::Access::write),
              0);
    return true;
  });
  if (!found) GTEST_SKIP() << "no mapping of this process is a device's";
}

TEST(FaultIn, DoesNotTouchMappingsThatItCannotRead) {
  const FreshPages pages(1);
  ASSERT_EQ(::mprotect(pages.at(), kPage, PROT_READ), 0);
  const os::InjectFault fault(2, EACCES);
  EXPECT_EQ(os::fault_in(pages.at(), kPage, os::Access::write), EINVAL);
  EXPECT_STREQ(os::InjectFault::victim(), "open");
}

TEST(TouchPages, BringsThemIn) {
  const TempFolder folder;
  const std::size_t size = 3000 * kPage;  // more than one call takes
  const os::Opened file = os::open(folder.write("f", std::string(size, 'x')), os::OpenFor::reading);
  const Addresses range(size);
  ASSERT_EQ(os::map_shared(file.descriptor.get(), size, os::Access::read, range.at()).error, 0);
  EXPECT_EQ(os::touch_pages(range.at(), size), 0);
  EXPECT_EQ(os::page_states(range.at(), size).present.value_or(size), size);
}

// At addresses where reading would raise SIGBUS.
TEST(TouchPages, SaysWhatIsBehindTheEndOfAFile) {
  const TempFolder folder;
  const std::size_t size = 8 * kPage;
  const auto path = folder.write("f", std::string(size, 'x'));
  const os::Opened file = os::open(path, os::OpenFor::reading);
  const Addresses range(size);
  ASSERT_EQ(os::map_shared(file.descriptor.get(), size, os::Access::read, range.at()).error, 0);
  std::filesystem::resize_file(path, kPage);
  EXPECT_EQ(os::touch_pages(range.at(), size), EFAULT);
}

}  // namespace
}  // namespace tapedeck::tests
