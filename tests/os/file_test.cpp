// SPDX-License-Identifier: Apache-2.0
#include "os/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "os/child.hpp"
#include "os/faults.hpp"
#include "os/huge_page_pool.hpp"
#include "os/memory_file.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/wrapper.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }
bool closes_on_exec(int descriptor) { return (::fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0; }

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Descriptor, ClosesWhatItOwns) {
  const int number = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    os::Descriptor first(number);
    EXPECT_EQ(first.get(), number);
    os::Descriptor second(std::move(first));
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): defined to own nothing
    EXPECT_TRUE(second);
    os::Descriptor none;
    EXPECT_FALSE(none);
    EXPECT_EQ(none.get(), -1);
    none = std::move(second);
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(HoleBytes, AreThoseThatWereNeverWritten) {
  struct Row {
    const char* what;
    std::size_t begin;
    std::size_t end;
    std::uint64_t bytes;
  };
  // A file of 8 pages, of which the third was written, and the last two only allocated.
  const Row rows[] = {
      {"nothing", 0, 0, 0},
      {"what was written", 2 * kPage, 3 * kPage, 0},
      {"what was not", 3 * kPage, 5 * kPage, 2 * kPage},
      {"what was allocated", 6 * kPage, 8 * kPage, 2 * kPage},
      {"around what was written", kPage, 4 * kPage, 2 * kPage},
      {"a part of a page", 5, 15, 10},
      {"everything", 0, 8 * kPage, 7 * kPage},
  };
  const TempFolder folder;
  const int file = ::open((folder / "f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const os::Descriptor owner(file);
  ASSERT_EQ(::ftruncate(file, static_cast<off_t>(8 * kPage)), 0);
  const std::string page(kPage, 'x');
  ASSERT_EQ(::pwrite(file, page.data(), kPage, static_cast<off_t>(2 * kPage)),
            static_cast<ssize_t>(kPage));
  if (::fallocate(file, 0, static_cast<off_t>(6 * kPage), static_cast<off_t>(2 * kPage)) != 0 ||
      os::hole_bytes(file, 0, kPage) == 0) {
    GTEST_SKIP() << "this file system does not report holes";
  }
  for (const Row& row : rows) {
    EXPECT_EQ(os::hole_bytes(file, row.begin, row.end), row.bytes) << row.what;
  }
  const os::InjectFault fault(1, EINVAL);
  EXPECT_EQ(os::hole_bytes(file, 0, kPage), 0U);
  EXPECT_STREQ(os::InjectFault::victim(), "lseek");
}

TEST(OpenRead, ReadsAFile) {
  const TempFolder folder;
  const os::Opened opened = os::open(folder.write("a", "hello"), os::OpenFor::reading);
  ASSERT_EQ(opened.error, 0);
  EXPECT_TRUE(closes_on_exec(opened.descriptor.get()));
  EXPECT_EQ(os::write_all(opened.descriptor.get(), bytes_of("x")).error, EBADF);
}

TEST(OpenRead, GivesErrno) {
  const TempFolder folder;
  EXPECT_EQ(os::open(folder / "missing", os::OpenFor::reading).error, ENOENT);
  EXPECT_EQ(os::open(folder.write("a", "") / "b", os::OpenFor::reading).error, ENOTDIR);
  EXPECT_EQ(os::open(folder / std::string(300, 'x'), os::OpenFor::reading).error, ENAMETOOLONG);
  EXPECT_FALSE(os::open(folder / "missing", os::OpenFor::reading).descriptor);
}

TEST(OpenRead, DoesNotWaitForTheWriterOfAFifo) {
  const TempFolder folder;
  const std::filesystem::path fifo = folder / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  in_child([&] {  // in a child, because a child that hangs is killed
    const os::Opened opened = os::open(fifo, os::OpenFor::reading);
    EXPECT_EQ(opened.error, 0);
    EXPECT_FALSE(os::facts(opened.descriptor.get()).regular);
  });
}

TEST(OpenCreate, TakesNothingThatIsThere) {
  const TempFolder folder;
  const std::filesystem::path path = folder / "new";
  const os::Opened opened = os::open(path, os::OpenFor::creating);
  EXPECT_TRUE(closes_on_exec(opened.descriptor.get()));
  EXPECT_EQ(os::write_all(opened.descriptor.get(), bytes_of("now")).bytes, 3U);
  EXPECT_EQ(os::open(path, os::OpenFor::creating).error, EEXIST);
  EXPECT_EQ(text_of(path), "now");
  EXPECT_EQ(os::open(folder.path(), os::OpenFor::creating).error, EEXIST);
  std::filesystem::create_symlink("elsewhere", folder / "link");
  EXPECT_EQ(os::open(folder / "link", os::OpenFor::creating).error, EEXIST);
  EXPECT_FALSE(std::filesystem::exists(folder / "elsewhere"));
}

TEST(Duplicate, GivesASecondDescriptorOfTheSameFile) {
  const TempFolder folder;
  os::Opened first = os::open(folder.write("a", "hello"), os::OpenFor::reading);
  const os::Opened second = os::duplicate(first.descriptor.get());
  ASSERT_EQ(second.error, 0);
  EXPECT_NE(second.descriptor.get(), first.descriptor.get());
  EXPECT_TRUE(closes_on_exec(second.descriptor.get()));
  first.descriptor = {};
  EXPECT_EQ(os::facts(second.descriptor.get()).bytes, 5U);
  EXPECT_EQ(os::duplicate(-1).error, EBADF);
}

TEST(Facts, TellSizeAndKind) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", "hello");
  const os::Opened opened = os::open(path, os::OpenFor::reading);
  for (const os::FileFacts& facts : {os::facts(path), os::facts(opened.descriptor.get())}) {
    EXPECT_EQ(facts.error, 0);
    EXPECT_EQ(facts.bytes, 5U);
    EXPECT_TRUE(facts.regular);
  }
  EXPECT_FALSE(os::facts(folder.path()).regular);
  EXPECT_EQ(os::facts(folder / "missing").error, ENOENT);
  EXPECT_EQ(os::facts(-1).error, EBADF);
}

TEST(OpenRegularFile, TellsWhatItOpenedAndWhatItCannot) {
  const TempFolder folder;
  const os::OpenedFile file = os::open_regular_file(folder.write("file", "four"));
  EXPECT_TRUE(file.descriptor);
  EXPECT_EQ(file.facts.bytes, 4U);
  const std::filesystem::path missing = folder / "missing";
  const auto absent = thrown<SystemError>([&] { return os::open_file(missing); });
  EXPECT_EQ(absent.number(), ENOENT);
  EXPECT_EQ(absent.path(), missing);
  const auto no_file =
      thrown<InvalidArgument>([&] { return os::open_regular_file(folder.path()); });
  EXPECT_EQ(no_file.argument(), "path");
  const os::InjectFault fault(2, EIO);
  const auto unknown = thrown<SystemError>([&] { return os::open_file(folder / "file"); });
  EXPECT_EQ(unknown.call(), "fstat");
  EXPECT_EQ(unknown.number(), EIO);
}

TEST(CreateMemoryFile, HasTheSizeAskedForInOrdinaryPages) {
  const os::Opened opened = os::create_memory_file("test", 12345, 0);
  ASSERT_EQ(opened.error, 0);
  EXPECT_TRUE(closes_on_exec(opened.descriptor.get()));
  EXPECT_EQ(os::facts(opened.descriptor.get()).bytes, 12345U);
  EXPECT_EQ(os::write_all(opened.descriptor.get(), bytes_of("x")).bytes, 1U);
  EXPECT_EQ(os::huge_page_of(opened.descriptor.get()), 0U);
  EXPECT_EQ(os::huge_page_of(os::open("/proc/self/exe", os::OpenFor::reading).descriptor.get()),
            0U);
  EXPECT_EQ(os::huge_page_of(-1), 0U);
}

TEST(CreateMemoryFile, ClosesItsFileWhenTheSizeIsRefused) {
  const NothingLeft check;
  const os::Opened opened = os::create_memory_file("test", std::size_t{1} << 63, 0);
  EXPECT_EQ(opened.error, EINVAL);
  EXPECT_FALSE(opened.descriptor);
  const os::InjectFault fault(2, EFBIG);
  EXPECT_EQ(os::create_memory_file("test", 1, 0).error, EFBIG);
  EXPECT_STREQ(os::InjectFault::victim(), "ftruncate");
}

TEST(CreateMemoryFile, TakesHugePages) {
  const HugePagePool pool(0);
  const std::size_t page = pool_page();
  if (page == 0) GTEST_SKIP() << "this kernel has no huge pages";
  const os::Opened opened = os::create_memory_file("test", 2 * page, page);
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(os::huge_page_of(opened.descriptor.get()), page);
}

TEST(ReadAt, ReadsUntilFullOrTheEnd) {
  const TempFolder folder;
  const os::Opened opened = os::open(folder.write("a", "0123456789"), os::OpenFor::reading);
  const int file = opened.descriptor.get();
  std::array<std::byte, 4> four{};
  const os::Transferred middle = os::read_at(file, four, 3);
  EXPECT_EQ(middle.error, 0);
  EXPECT_EQ(middle.bytes, 4U);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(four.data()), 4), "3456");
  EXPECT_EQ(os::read_at(file, four, 8).bytes, 2U);
  EXPECT_EQ(os::read_at(file, four, 10).bytes, 0U);
  EXPECT_EQ(os::read_at(file, four, 1000).error, 0);
  EXPECT_EQ(os::read_at(file, {}, 0).bytes, 0U);
  EXPECT_EQ(os::read_at(-1, four, 0).error, EBADF);
  EXPECT_EQ(os::read_at(file, four, std::uint64_t{1} << 63).error, EINVAL);
}

// The system may split a read anywhere. Here it is split by a failure after the first part.
TEST(ReadAt, SaysHowFarItCame) {
  const TempFolder folder;
  const os::Opened opened = os::open(folder.write("a", "0123456789"), os::OpenFor::reading);
  std::array<std::byte, 16> more{};
  const os::InjectFault fault(2, EIO);
  const os::Transferred got = os::read_at(opened.descriptor.get(), more, 0);
  EXPECT_EQ(got.error, EIO);
  EXPECT_EQ(got.bytes, 10U);
}

TEST(WriteAll, WritesOnUntilItIsDone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const os::Descriptor read_end(ends[0]);
  os::Descriptor write_end(ends[1]);
  const std::string much(300'000, 'x');  // more than a pipe takes at once
  Child writer(
      [&] { EXPECT_EQ(os::write_all(write_end.get(), bytes_of(much)).bytes, much.size()); });
  write_end = {};
  std::string got(much.size(), ' ');
  std::size_t done = 0;
  while (done < got.size()) {
    const ssize_t part = ::read(read_end.get(), got.data() + done, got.size() - done);
    ASSERT_GT(part, 0);
    done += static_cast<std::size_t>(part);
  }
  EXPECT_TRUE(got == much);
  EXPECT_TRUE(passed(writer.wait()));
}

// The system accepts a part, and refuses the rest. It does not end the process by SIGXFSZ.
TEST(WriteAll, SaysHowFarItCame) {
  const TempFolder folder;
  in_child([&] {
    const rlimit six = {6, 6};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &six), 0);
    const os::Opened file = os::open(folder / "a", os::OpenFor::creating);
    const os::Transferred put = os::write_all(file.descriptor.get(), bytes_of("0123456789"));
    EXPECT_EQ(put.error, EFBIG);
    EXPECT_EQ(put.bytes, 6U);
    sigset_t left;
    ASSERT_EQ(::sigpending(&left), 0);
    EXPECT_EQ(::sigismember(&left, SIGXFSZ), 0);
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, nullptr, &left), 0);
    EXPECT_EQ(::sigismember(&left, SIGXFSZ), 0);
  });
  EXPECT_EQ(text_of(folder / "a"), "012345");
}

TEST(WriteAll, GivesErrno) {
  const os::Descriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full);
  const os::Transferred put = os::write_all(full.get(), bytes_of("x"));
  EXPECT_EQ(put.error, ENOSPC);
  EXPECT_EQ(put.bytes, 0U);
}

TEST(RenameFile, ReplacesAtOnce) {
  const TempFolder folder;
  const std::filesystem::path from = folder.write("from", "new");
  const std::filesystem::path to = folder.write("to", "old");
  EXPECT_EQ(os::rename_file(from, to), 0);
  EXPECT_EQ(text_of(to), "new");
  EXPECT_EQ(os::facts(from).error, ENOENT);
  EXPECT_EQ(os::rename_file(from, to), ENOENT);
}

TEST(RemoveFile, GivesErrno) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", "");
  EXPECT_EQ(os::remove_file(path), 0);
  EXPECT_EQ(os::remove_file(path), ENOENT);
  EXPECT_NE(os::remove_file(folder.path()), 0);
}

TEST(FreeBytes, AreUnknownWhereThereIsNoFolder) {
  const TempFolder folder;
  EXPECT_GT(os::free_bytes(folder.path()).value_or(0), 0U);
  EXPECT_EQ(os::free_bytes(folder / "missing"), std::nullopt);
  const os::InjectFault fault(1, EIO);
  EXPECT_EQ(os::free_bytes(folder.path()), std::nullopt);
  EXPECT_STREQ(os::InjectFault::victim(), "statvfs");
}

TEST(IsTerminal, KnowsAPseudoTerminal) {
  const os::Opened null = os::open("/dev/null", os::OpenFor::reading);
  EXPECT_FALSE(os::is_terminal(null.descriptor.get()));
  EXPECT_FALSE(os::is_terminal(-1));
  const os::Descriptor terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal) GTEST_SKIP() << "this host has no pseudo-terminals";
  EXPECT_TRUE(os::is_terminal(terminal.get()));
}

TEST(PunchHole, GivesPagesBackAndKeepsTheSize) {
  const std::size_t page = kPage;
  const os::Opened opened = os::create_memory_file("test", 3 * page, 0);
  const int file = opened.descriptor.get();
  const std::string content(3 * page, 'x');
  ASSERT_EQ(os::write_all(file, bytes_of(content)).error, 0);
  EXPECT_EQ(os::punch_hole(file, page, page), 0);
  struct stat status {};
  ASSERT_EQ(::fstat(file, &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), 3 * page);
  EXPECT_EQ(static_cast<std::size_t>(status.st_blocks) * 512, 2 * page);
  std::vector<std::byte> now(3 * page);
  ASSERT_EQ(os::read_at(file, now, 0).bytes, now.size());
  EXPECT_EQ(now[page - 1], std::byte{'x'});
  EXPECT_EQ(now[page], std::byte{0});
  EXPECT_EQ(now[2 * page - 1], std::byte{0});
  EXPECT_EQ(now[2 * page], std::byte{'x'});
  EXPECT_EQ(os::punch_hole(-1, 0, page), EBADF);
}

// A file whose pages are the storage has none in the page cache, on whatever file system.
TEST(FileSystem, IsAskedForCachedPagesOnlyWhereItHasThem) {
  using Cache = os::FileSystem::Cache;
  constexpr std::uint32_t kExt4 = 0xEF53;
  constexpr std::uint32_t kOverlay = 0x794C7630;
  constexpr std::uint32_t kZfs = 0x2FC12FC1;
  EXPECT_EQ(os::cache_of(kExt4, false), Cache::own_pages);
  EXPECT_EQ(os::cache_of(kOverlay, false), Cache::mapped_pages);
  EXPECT_EQ(os::cache_of(kZfs, false), Cache::elsewhere);
  EXPECT_EQ(os::cache_of(1, false), Cache::mapped_pages);
  EXPECT_EQ(os::cache_of(std::nullopt, false), Cache::mapped_pages);
  EXPECT_EQ(os::cache_of(kExt4, true), Cache::elsewhere);
  EXPECT_EQ(os::cache_of(kOverlay, true), Cache::elsewhere);
  EXPECT_EQ(os::cache_of(std::nullopt, true), Cache::elsewhere);
}

TEST(File, EveryCallCanBeMadeToFail) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", "hello");
  const os::Opened file = os::create_memory_file("test", 1, 0);
  std::array<std::byte, 1> one{};
  expect_each_can_fail({
      {"open", [&] { return os::open(path, os::OpenFor::reading).error; }},
      {"open", [&] { return os::open(path, os::OpenFor::creating).error; }},
      {"fcntl", [&] { return os::duplicate(file.descriptor.get()).error; }},
      {"memfd_create", [] { return os::create_memory_file("test", 1, 0).error; }},
      {"fstat", [&] { return os::facts(file.descriptor.get()).error; }},
      {"stat", [&] { return os::facts(path).error; }},
      {"pread", [&] { return os::read_at(file.descriptor.get(), one, 0).error; }},
      {"write", [&] { return os::write_all(file.descriptor.get(), one).error; }},
      {"rename", [&] { return os::rename_file(path, folder / "b"); }},
      {"unlink", [&] { return os::remove_file(path); }},
      {"fallocate", [&] { return os::punch_hole(file.descriptor.get(), 0, 1); }},
  });
  EXPECT_EQ(text_of(path), "hello");  // none of the calls had an effect
}

}  // namespace
}  // namespace tapedeck::tests
