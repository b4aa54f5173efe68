// Blocks of memory that several processes share.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/thrown.hpp"
#include "memory/hook_ledger.hpp"
#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace {

Block shared_with_pattern(std::size_t bytes) {
  Block block = Block::create_shared(bytes);
  block.commit(bytes);
  Pattern(1).write(block.data(), bytes);
  return block;
}

// Bytes of memory behind a descriptor.
std::size_t bytes_held(int descriptor) {
  struct stat status {};
  EXPECT_EQ(::fstat(descriptor, &status), 0);
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

/// Two ends over which processes pass descriptors.
class Wire {
 public:
  Wire() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()), 0); }
  ~Wire() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  void send(int descriptor) {
    Letter letter;
    cmsghdr* header = CMSG_FIRSTHDR(&letter.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
    EXPECT_EQ(::sendmsg(ends_[0], &letter.message, 0), 1);
  }

  [[nodiscard]] int receive() {
    Letter letter;
    EXPECT_EQ(::recvmsg(ends_[1], &letter.message, MSG_CMSG_CLOEXEC), 1);
    const cmsghdr* header = CMSG_FIRSTHDR(&letter.message);
    int descriptor = -1;
    if (header != nullptr) std::memcpy(&descriptor, CMSG_DATA(header), sizeof(int));
    return descriptor;
  }

 private:
  struct Letter {
    Letter() {
      message.msg_iov = &text;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
    }
    char byte = 'x';
    iovec text = {&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
  };

  std::array<int, 2> ends_{};
};

TEST(SharedBlock, HasADescriptorOfItsSize) {
  const Block block = Block::create_shared(5 * kPage);
  struct stat status {};
  ASSERT_EQ(::fstat(block.descriptor(), &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), 5 * kPage);
  EXPECT_NE(::fcntl(block.descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(bytes_held(block.descriptor()), 0U);
}

TEST(SharedBlock, ItsDescriptorEndsWithIt) {
  int descriptor = -1;
  {
    const Block block = Block::create_shared(kPage);
    descriptor = block.descriptor();
  }
  EXPECT_LT(::fcntl(descriptor, F_GETFD), 0);
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

TEST(SharedBlock, AForkedChildSeesAndWritesTheSameMemory) {
  const Block block = shared_with_pattern(4 * kPage);
  in_child([&] {
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kPage));
    Pattern(2).write(block.data(), 4 * kPage);
  });
  EXPECT_TRUE(Pattern(2).is_at(block.data(), 4 * kPage));
}

// The child was there before the memory, so it knows nothing but what it is sent.
TEST(SharedBlock, AnotherProcessMapsItByItsDescriptor) {
  Wire wire;
  Child child([&] {
    const int descriptor = wire.receive();
    Block block = Block::open_shared(descriptor, true);
    ::close(descriptor);  // the block has its own
    EXPECT_EQ(block.size(), 4 * kPage);
    EXPECT_EQ(block.committed(), 4 * kPage);
    EXPECT_TRUE(Pattern(1).is_at(block.data(), 4 * kPage));
    Pattern(2).write(block.data() + kPage, kPage);
  });
  const Block block = shared_with_pattern(4 * kPage);
  wire.send(block.descriptor());
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

TEST(OpenedBlock, IsWritableWhenAsked) {
  const Block owner = shared_with_pattern(2 * kPage);
  const Block opened = Block::open_shared(owner.descriptor(), true);
  EXPECT_TRUE(opened.writable());
  EXPECT_EQ(opened.kind(), BlockKind::shared);
  EXPECT_NE(opened.descriptor(), owner.descriptor());
  opened.data()[kPage] = std::byte{42};
  EXPECT_EQ(owner.data()[kPage], std::byte{42});
}

TEST(OpenedBlock, CannotBeWrittenOtherwise) {
  const Block owner = shared_with_pattern(2 * kPage);
  const Block opened = Block::open_shared(owner.descriptor(), false);
  EXPECT_FALSE(opened.writable());
  EXPECT_TRUE(faults_on_write(opened.data()));
  owner.data()[0] = std::byte{42};
  EXPECT_EQ(opened.data()[0], std::byte{42});
}

// The bytes are the owner's. Both kinds drop this process's pages only.
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
  const auto error = thrown<SystemError>([&] { static_cast<void>(Block::open_shared(-1, true)); });
  EXPECT_EQ(error.number(), EBADF);
  EXPECT_TRUE(same(before, holdings()));
  for (const int one : {empty, pipe[0], pipe[1]}) ::close(one);
}

TEST(OpenedBlock, NeedsARightToWrite) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", "content");
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const Holdings before = holdings();
  const auto error =
      thrown<SystemError>([&] { static_cast<void>(Block::open_shared(file, true)); });
  EXPECT_EQ(error.number(), EACCES);
  EXPECT_EQ(error.call(), "mmap");
  EXPECT_TRUE(same(before, holdings()));
  EXPECT_EQ(Block::open_shared(file, false).data()[0], std::byte{'c'});
  ::close(file);
}

TEST(OpenedBlock, IsAnnouncedOnceAndWhole) {
  const Block owner = shared_with_pattern(4 * kPage);
  HookLedger ledger;
  {
    Block opened = Block::open_shared(owner.descriptor(), true, ledger.with());
    EXPECT_EQ(ledger.open_bytes(), 4 * kPage);
    opened.decommit(0);
    EXPECT_EQ(ledger.open_bytes(), 4 * kPage);
  }
  EXPECT_EQ(ledger.commits(), 1U);
  EXPECT_EQ(ledger.decommits(), 1U);
  EXPECT_EQ(ledger.open_bytes(), 0U);
  EXPECT_EQ(ledger.mistakes(), "");
}

TEST(OpenedBlock, AHookThatThrowsLeavesNothingBehind) {
  const Block owner = shared_with_pattern(kPage);
  HookLedger ledger;
  { const Block once = Block::open_shared(owner.descriptor(), true, ledger.with()); }
  const Holdings before = holdings();
  ledger.refuse_next();
  EXPECT_THROW(static_cast<void>(Block::open_shared(owner.descriptor(), true, ledger.with())),
               std::runtime_error);
  EXPECT_TRUE(same(before, holdings()));
  EXPECT_TRUE(Pattern(1).is_at(owner.data(), kPage));
}

}  // namespace
}  // namespace tapedeck::tests
