// SPDX-License-Identifier: Apache-2.0
// Blocks that map files.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/faults.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

std::string pattern_text(std::size_t bytes) {
  std::string text(bytes, '\0');
  Pattern(3).write(text.data(), bytes);
  return text;
}

class MappedFile : public ::testing::Test {
 protected:
  std::filesystem::path write(std::size_t bytes) {
    return folder_.write("model", pattern_text(bytes));
  }

  TempFolder folder_;
};

TEST_F(MappedFile, IsTheFilesBytes) {
  for (const std::size_t bytes : {std::size_t{1}, kPage - 1, kPage, kPage + 1, 3 * kPage + 17}) {
    const Block block = Block::map_file(write(bytes));
    EXPECT_EQ(block.size(), bytes);
    EXPECT_EQ(block.committed(), bytes);
    EXPECT_EQ(block.kind(), BlockKind::file);
    EXPECT_FALSE(block.writable());
    EXPECT_EQ(block.descriptor(), -1);
    EXPECT_EQ(block.page_size(), kPage);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % kPage, 0U);
    EXPECT_TRUE(Pattern(3).is_at(block.data(), bytes));
    // A tape may use the last page to its end.
    EXPECT_TRUE(all_bytes_are(block.data() + bytes, (kPage - bytes % kPage) % kPage, 0));
  }
}

TEST_F(MappedFile, CannotBeWrittenAndGuardPagesFaultOnBothSides) {
  for (const std::size_t bytes : {std::size_t{1}, kPage, kPage + 1}) {
    const Block block = Block::map_file(write(bytes), {.guard_pages = true});
    const std::size_t whole = (bytes + kPage - 1) / kPage * kPage;
    EXPECT_TRUE(Pattern(3).is_at(block.data(), bytes));
    EXPECT_TRUE(faults_on_read(block.data() - 1));
    EXPECT_TRUE(faults_on_write(block.data()));
    EXPECT_TRUE(faults_on_write(block.data() + bytes - 1));
    EXPECT_TRUE(faults_on_read(block.data() + whole));
  }
}

// The page cache is shared: writes to the file are visible, and no copy is made.
TEST_F(MappedFile, IsSharedWithEverybody) {
  const std::filesystem::path path = write(2 * kPage);
  const Block block = Block::map_file(path);
  EXPECT_EQ(block.data()[kPage], std::byte(pattern_text(2 * kPage)[kPage]));
  std::fstream(path, std::ios::in | std::ios::out).seekp(static_cast<off_t>(kPage)) << "new";
  EXPECT_EQ(block.data()[kPage], std::byte{'n'});
  EXPECT_EQ(mappings_in(block.data(), 1).front().access, "r--s");
}

TEST_F(MappedFile, NeedsNoDescriptorAndLeavesNothingBehind) {
  const std::filesystem::path path = write(kPage + 1);
  { const Block once = Block::map_file(path); }
  const Holdings before = holdings();
  {
    const Block block = Block::map_file(path, {.core_dump = false, .guard_pages = true});
    EXPECT_EQ(open_descriptors(), before.descriptors);
    std::filesystem::remove(path);  // nor its name
    EXPECT_TRUE(Pattern(3).is_at(block.data(), kPage + 1));
  }
  EXPECT_TRUE(same(before, holdings()));
}

TEST_F(MappedFile, CommitsNothingMore) {
  Block block = Block::map_file(write(kPage + 1));
  block.commit(kPage + 1);
  block.commit(1);
  EXPECT_THROW(block.commit(kPage + 2), InvalidArgument);
  EXPECT_EQ(block.committed(), kPage + 1);
}

TEST_F(MappedFile, DecommitDropsPagesAndTheyComeBack) {
  Block block = Block::map_file(write(8 * kPage));
  ASSERT_TRUE(Pattern(3).is_at(block.data(), 8 * kPage));
  EXPECT_EQ(block.residency(0, 8 * kPage).present.value_or(8 * kPage), 8 * kPage);
  EXPECT_EQ(block.decommit(2 * kPage), 6 * kPage);
  EXPECT_EQ(block.committed(), 8 * kPage);
  EXPECT_LE(block.residency(2 * kPage, 6 * kPage).present.value_or(0), 0U);
  EXPECT_TRUE(Pattern(3).is_at(block.data(), 8 * kPage));
}

TEST_F(MappedFile, AMissingFileIsASystemErrorWithItsPath) {
  const std::string path = folder_ / "missing";
  const auto error = thrown<SystemError>([&] { return Block::map_file(path); });
  EXPECT_EQ(error.number(), ENOENT);
  EXPECT_EQ(error.call(), "open");
  EXPECT_EQ(error.path(), path);
}

// Many files are mapped at the same time, so the error of any failing call names its file.
TEST_F(MappedFile, EveryErrorSaysWhichFile) {
  const std::filesystem::path path = write(kPage);
  std::uint64_t errors = 0;
  for (std::uint64_t k = 1;; ++k) {
    const os::InjectFault fault(k, ENOMEM);
    try {
      static_cast<void>(Block::map_file(path, {.huge_pages = HugePages::never}));
      if (*os::InjectFault::victim() == '\0') break;
    } catch (const SystemError& error) {
      EXPECT_EQ(error.path(), path.string()) << error.what();
      ++errors;
    }
  }
  EXPECT_GE(errors, 4U);  // open, fstat, mmap of addresses, mmap of the file
}

TEST_F(MappedFile, AnEmptyFileIsAFormatErrorWithItsPath) {
  const std::string path = folder_.write("empty", "");
  const auto error = thrown<FormatError>([&] { return Block::map_file(path); });
  EXPECT_EQ(error.path(), path);
  EXPECT_EQ(error.offset(), 0U);
}

TEST_F(MappedFile, OnlyRegularFilesAreMapped) {
  const std::filesystem::path fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  in_child([&] {  // in a child, because a child that hangs is killed
    for (const std::filesystem::path& path :
         {fifo, folder_.path(), std::filesystem::path("/dev/null"),
          std::filesystem::path("/dev/zero")}) {
      const NothingLeft check;
      const auto error = thrown<InvalidArgument>([&] { return Block::map_file(path); });
      EXPECT_EQ(error.argument(), "path");
    }
  });
}

TEST_F(MappedFile, ALinkIsItsFile) {
  const std::filesystem::path link = folder_ / "link";
  std::filesystem::create_symlink(write(kPage), link);
  EXPECT_TRUE(Pattern(3).is_at(Block::map_file(link).data(), kPage));
}

// A sparse file may claim any size.
TEST_F(MappedFile, AFileLargerThanTheAddressesIsAnError) {
  for (const int shift : {62, 61, 60}) {
    const int file = ::memfd_create("sparse", MFD_CLOEXEC);
    ASSERT_GE(file, 0);
    ASSERT_EQ(::ftruncate(file, (off_t{1} << shift) + 5), 0);
    const std::string path = "/proc/self/fd/" + std::to_string(file);
    const Holdings before = holdings();
    EXPECT_THROW(static_cast<void>(Block::map_file(path)), Error);
    EXPECT_TRUE(same(before, holdings()));
    ::close(file);
  }
}

}  // namespace
}  // namespace tapedeck::tests
