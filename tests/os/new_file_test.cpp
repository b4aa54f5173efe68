// SPDX-License-Identifier: Apache-2.0
#include "os/new_file.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <span>
#include <string_view>

#include "os/self.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {
namespace {

using internal::NewFile;

void write(NewFile& file, std::string_view text) {
  file.write(std::as_bytes(std::span(text.data(), text.size())));
}

class NewFileTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }

  TempFolder folder_;
  std::filesystem::path path_ = folder_ / "file";
};

TEST_F(NewFileTest, ReplacesAFileAtOnceAndLeavesItAloneUntilThen) {
  folder_.write("file", "old");
  const std::filesystem::path link = folder_ / "link";
  std::filesystem::create_hard_link(path_, link);
  NewFile file(path_);
  write(file, "new");
  EXPECT_EQ(text_of(path_), "old");
  file.put_in_place();
  EXPECT_EQ(text_of(path_), "new");
  // The link now refers to a new file, and the old one was not written.
  EXPECT_EQ(text_of(link), "old");
  EXPECT_EQ(files(), 2U);
}

TEST_F(NewFileTest, KeepsPermissionsAndSymbolicLinks) {
  using std::filesystem::perms;
  for (const perms kept : {perms(0600), perms(0640), perms(0666)}) {
    folder_.write("file", "old");
    std::filesystem::permissions(path_, kept);
    const std::filesystem::path link = folder_ / "link";
    std::filesystem::create_symlink("file", link);
    NewFile file(link);
    write(file, "new");
    file.put_in_place();
    EXPECT_EQ(text_of(path_), "new");
    EXPECT_TRUE(std::filesystem::is_symlink(link));
    EXPECT_EQ(std::filesystem::status(path_).permissions(), kept);
    EXPECT_EQ(files(), 2U);
    std::filesystem::remove(link);
  }
}

TEST_F(NewFileTest, IsGoneUnlessItIsPutInPlace) {
  {
    NewFile file(path_);
    write(file, "half");
    EXPECT_EQ(files(), 1U);
  }
  EXPECT_EQ(files(), 0U);
  folder_.write("file", "old");
  { const NewFile file(path_); }
  EXPECT_EQ(text_of(path_), "old");
  EXPECT_EQ(files(), 1U);
}

}  // namespace
}  // namespace tapedeck::tests
