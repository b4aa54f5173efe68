// SPDX-License-Identifier: Apache-2.0
#include "os/new_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>

#include "os/child.hpp"
#include "os/faults.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {
namespace {

using internal::NewFile;

void write(NewFile& file, std::string_view text) {
  file.write(std::as_bytes(std::span(text.data(), text.size())));
}

/// With files that have no name yet (false), and where the file system has none (true).
class NewFileTest : public ::testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] static std::unique_ptr<NewFile> made(const std::filesystem::path& path) {
    const internal::os::InjectFault fault(GetParam() ? 2 : 0, EOPNOTSUPP);
    auto file = std::make_unique<NewFile>(path);
    EXPECT_STREQ(internal::os::InjectFault::victim(), GetParam() ? "open" : "");
    return file;
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }

  TempFolder folder_;
  std::filesystem::path path_ = folder_ / "file";
};

INSTANTIATE_TEST_SUITE_P(BothWays, NewFileTest, ::testing::Bool());

TEST_P(NewFileTest, ReplacesAFileAtOnceAndLeavesItAloneUntilThen) {
  folder_.write("file", "old");
  const std::filesystem::path link = folder_ / "link";
  std::filesystem::create_hard_link(path_, link);
  const auto file = made(path_);
  write(*file, "new");
  EXPECT_EQ(text_of(path_), "old");
  file->put_in_place();
  EXPECT_EQ(text_of(path_), "new");
  // The link now refers to a new file, and the old one was not written.
  EXPECT_EQ(text_of(link), "old");
  EXPECT_EQ(files(), 2U);
}

TEST_P(NewFileTest, KeepsPermissionsAndSymbolicLinks) {
  using std::filesystem::perms;
  for (const perms kept : {perms(0600), perms(0640), perms(0666)}) {
    folder_.write("file", "old");
    std::filesystem::permissions(path_, kept);
    const std::filesystem::path link = folder_ / "link";
    std::filesystem::create_symlink("file", link);
    const auto file = made(link);
    write(*file, "new");
    file->put_in_place();
    EXPECT_EQ(text_of(path_), "new");
    EXPECT_TRUE(std::filesystem::is_symlink(link));
    EXPECT_EQ(std::filesystem::status(path_).permissions(), kept);
    EXPECT_EQ(files(), 2U);
    std::filesystem::remove(link);
  }
}

TEST_P(NewFileTest, HasThePermissionsOfAnyNewFile) {
  folder_.write("other", "");
  const auto file = made(path_);
  file->put_in_place();
  EXPECT_EQ(std::filesystem::status(path_).permissions(),
            std::filesystem::status(folder_ / "other").permissions());
}

TEST_P(NewFileTest, IsGoneUnlessItIsPutInPlace) {
  {
    const auto file = made(path_);
    write(*file, "half");
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  EXPECT_EQ(files(), 0U);
  folder_.write("file", "old");
  { const auto file = made(path_); }
  EXPECT_EQ(text_of(path_), "old");
  EXPECT_EQ(files(), 1U);
}

// Another program may create a file of that name meanwhile.
TEST_P(NewFileTest, ReplacesWhatAppearedMeanwhile) {
  const auto file = made(path_);
  write(*file, "new");
  folder_.write("file", "other");
  file->put_in_place();
  EXPECT_EQ(text_of(path_), "new");
  EXPECT_EQ(files(), 1U);
}

TEST(NewFileWithoutName, IsGoneWhenItsProcessIsKilled) {
  const TempFolder folder;
  const auto ended = Child([&] {
                       NewFile file(folder / "file");
                       if (!std::filesystem::is_empty(folder.path())) ::_exit(77);
                       write(file, "half");
                       std::raise(SIGKILL);
                     }).wait();
  if (ended.exit_code == 77) GTEST_SKIP() << "this file system has no files without a name";
  EXPECT_EQ(ended.signal, SIGKILL);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace tapedeck::tests
