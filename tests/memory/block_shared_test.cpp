// SPDX-License-Identifier: Apache-2.0
// Blocks of memory that several processes share.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/thrown.hpp"
#include "memory/hook_ledger.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "os/socket.hpp"
#include "os/socket_pair.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

Block shared_with_pattern(std::size_t bytes) {
  Block block = Block::create_shared(bytes);
  block.commit(bytes);
  Pattern(1).write(block.data(), bytes);
  return block;
}

// The number of bytes of memory behind a descriptor.
std::size_t bytes_held(int descriptor) {
  struct stat status {};
  EXPECT_EQ(::fstat(descriptor, &status), 0);
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

TEST(SharedBlock, HasADescriptorOfItsSize) {
  const Block block = Block::create_shared(5 * kPage);
  struct stat status {};
  ASSERT_EQ(::fstat(block.descriptor(), &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), 5 * kPage);
  EXPECT_NE(::fcntl(block.descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(bytes_held(block.descriptor()), 0U);
}

TEST(SharedBlock, DecommitGivesTheMemoryBack) {
  Block block = shared_with_pattern(8 * kPage);
  EXPECT_EQ(bytes_held(block.descriptor()), 8 * kPage);
  EXPECT_EQ(block.decommit(3 * kPage), 5 * kPage);
  EXPECT_EQ(bytes_held(block.descriptor()), 3 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(block.data(), 3 * kPage));
}

TEST(SharedBlock, AFailedCommitGivesTheMemoryBack) {
  BlockOptions options;
  options.on_commit = [](std::span<std::byte> range) {
    Pattern(1).write(range.data(), range.size());
    throw std::runtime_error("no");
  };
  Block block = Block::create_shared(8 * kPage, options);
  EXPECT_FALSE(block.try_commit(8 * kPage));
  EXPECT_EQ(bytes_held(block.descriptor()), 0U);
}

// The child was forked before the memory existed, so it knows only what it is sent.
TEST(SharedBlock, AnotherProcessMapsItByItsDescriptor) {
  const SocketPair wire;
  Child child([&] {
    os::Opened received = os::receive_descriptor(wire[1]);
    Block block = Block::open_shared(received.descriptor.get(), true);
    received.descriptor = {};  // the block has its own descriptor
    EXPECT_EQ(block.size(), 4 * kPage);
    EXPECT_EQ(block.committed(), 4 * kPage);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kPage));
    Pattern(2).write(block.data() + kPage, kPage);
  });
  const Block block = shared_with_pattern(4 * kPage);
  EXPECT_EQ(os::send_descriptor(wire[0], block.descriptor()), 0);
  EXPECT_TRUE(passed(child.wait()));
  EXPECT_TRUE(Pattern(1).is_at(block.data(), kPage));
  EXPECT_TRUE(Pattern(2).is_at(block.data() + kPage, kPage));
}

TEST(SharedBlock, OutlivesItsMaker) {
  Block opened;
  {
    const Block owner = shared_with_pattern(2 * kPage);
    opened = Block::open_shared(owner.descriptor(), false);
  }
  EXPECT_TRUE(Pattern(1).is_at(opened.data(), 2 * kPage));
  EXPECT_GE(::fcntl(opened.descriptor(), F_GETFD), 0);
}

TEST(OpenedBlock, IsWritableOnlyWhenAsked) {
  const Block owner = shared_with_pattern(2 * kPage);
  for (const bool writable : {false, true}) {
    const Block opened = Block::open_shared(owner.descriptor(), writable);
    EXPECT_EQ(opened.writable(), writable);
    EXPECT_EQ(opened.kind(), BlockKind::shared);
    EXPECT_NE(opened.descriptor(), owner.descriptor());
    owner.data()[0] = std::byte{42};
    EXPECT_EQ(opened.data()[0], std::byte{42});
    if (writable) {
      opened.data()[kPage] = std::byte{43};
    } else {
      EXPECT_TRUE(faults_on_write(opened.data()));
    }
    EXPECT_EQ(owner.data()[kPage] == std::byte{43}, writable);
  }
}

// The bytes belong to the owner. Both kinds only drop this process's pages.
TEST(OpenedBlock, DecommitDoesNotDestroyTheOwnersData) {
  const Block owner = shared_with_pattern(4 * kPage);
  for (const bool writable : {false, true}) {
    Block opened = Block::open_shared(owner.descriptor(), writable);
    ASSERT_TRUE(Pattern(1).is_at(opened.data(), 4 * kPage));
    EXPECT_EQ(opened.decommit(kPage), 3 * kPage);
    EXPECT_EQ(opened.committed(), 4 * kPage);
    EXPECT_LE(opened.residency(kPage, 3 * kPage).present.value_or(0), 0U);
    EXPECT_EQ(bytes_held(owner.descriptor()), 4 * kPage);
    EXPECT_TRUE(Pattern(1).is_at(owner.data(), 4 * kPage));
    EXPECT_TRUE(Pattern(1).is_at(opened.data(), 4 * kPage));
  }
}

TEST(OpenedBlock, SeesWhatTheOwnerCommitsLater) {
  Block owner = Block::create_shared(4 * kPage);
  const Block opened = Block::open_shared(owner.descriptor(), false);
  owner.commit(4 * kPage);
  Pattern(1).write(owner.data(), 4 * kPage);
  EXPECT_TRUE(Pattern(1).is_at(opened.data(), 4 * kPage));
  owner.decommit(kPage);
  EXPECT_TRUE(all_bytes_are(opened.data() + kPage, 3 * kPage, 0));
}

TEST(OpenedBlock, MayBeOfAnySize) {
  for (const std::size_t bytes : {std::size_t{1}, kPage - 1, kPage, kPage + 1}) {
    const int file = ::memfd_create("odd", MFD_CLOEXEC);
    ASSERT_EQ(::ftruncate(file, static_cast<off_t>(bytes)), 0);
    const Block opened = Block::open_shared(file, true, {.guard_pages = true});
    ::close(file);
    EXPECT_EQ(opened.size(), bytes);
    Pattern(1).write(opened.data(), bytes);
    EXPECT_TRUE(faults_on_read(opened.data() - 1));
    EXPECT_TRUE(faults_on_read(opened.data() + (bytes + kPage - 1) / kPage * kPage));
  }
}

TEST(OpenedBlock, RefusesWhatIsNoMemory) {
  const int empty = ::memfd_create("empty", MFD_CLOEXEC);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const Holdings before = holdings();
  EXPECT_THROW(static_cast<void>(Block::open_shared(empty, true)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(Block::open_shared(pipe[0], false)), InvalidArgument);
  const auto error = thrown<SystemError>([&] { return Block::open_shared(-1, true); });
  EXPECT_EQ(error.number(), EBADF);
  EXPECT_TRUE(same(before, holdings()));
  for (const int one : {empty, pipe[0], pipe[1]}) ::close(one);
}

TEST(OpenedBlock, NeedsARightToWrite) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", "content");
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const Holdings before = holdings();
  const auto error = thrown<SystemError>([&] { return Block::open_shared(file, true); });
  EXPECT_EQ(error.number(), EACCES);
  EXPECT_EQ(error.call(), "mmap");
  EXPECT_TRUE(same(before, holdings()));
  EXPECT_EQ(Block::open_shared(file, false).data()[0], std::byte{'c'});
  ::close(file);
}

/// Blocks over what this process does not own: memory of another process, and a file.
class ForeignBlock : public ::testing::TestWithParam<BlockKind> {
 protected:
  [[nodiscard]] Block open(const BlockOptions& options) const {
    return GetParam() == BlockKind::file ? Block::map_file(path_, options)
                                         : Block::open_shared(owner_.descriptor(), true, options);
  }

  TempFolder folder_;
  std::filesystem::path path_ = folder_.write("a", std::string(4 * kPage, 'x'));
  Block owner_ = shared_with_pattern(4 * kPage);
  HookLedger ledger_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, ForeignBlock,
                         ::testing::Values(BlockKind::shared, BlockKind::file));

TEST_P(ForeignBlock, IsAnnouncedOnceAndWhole) {
  {
    Block opened = open(ledger_.with());
    EXPECT_EQ(ledger_.open_bytes(), 4 * kPage);
    opened.decommit(0);  // it is still usable
    EXPECT_EQ(ledger_.open_bytes(), 4 * kPage);
    const Block moved = std::move(opened);
  }
  EXPECT_EQ(ledger_.commits(), 1U);
  EXPECT_EQ(ledger_.decommits(), 1U);
  EXPECT_EQ(ledger_.open_bytes(), 0U);
  EXPECT_EQ(ledger_.mistakes(), "");
}

TEST_P(ForeignBlock, AHookThatThrowsLeavesNothingBehind) {
  { const Block once = open(ledger_.with()); }
  const Holdings before = holdings();
  ledger_.refuse_next();
  EXPECT_THROW(static_cast<void>(open(ledger_.with())), std::runtime_error);
  EXPECT_TRUE(same(before, holdings()));
  EXPECT_EQ(ledger_.decommits(), 1U);  // those of the first part
  EXPECT_TRUE(Pattern(1).is_at(owner_.data(), 4 * kPage));
}

}  // namespace
}  // namespace tapedeck::tests
