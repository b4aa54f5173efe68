#include "engine/new_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "engine/support.hpp"
#include "os/fault_sweep.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using engine::NewFile;
using ::testing::HasSubstr;

void write(NewFile& file, std::string_view text) {
  file.write(std::as_bytes(std::span(text.data(), text.size())));
}

class NewFileTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }
  [[nodiscard]] static std::string refusal(const std::filesystem::path& path) {
    try {
      const NewFile file(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  TempFolder folder_;
  std::filesystem::path path_ = folder_ / "file";
};

TEST_F(NewFileTest, IsThereOnceItIsPutInPlace) {
  NewFile file(path_);
  write(file, "one ");
  write(file, "");
  write(file, "two");
  EXPECT_FALSE(std::filesystem::exists(path_));
  file.put_in_place();
  EXPECT_EQ(content_of(path_), "one two");
  EXPECT_EQ(files(), 1U);
}

TEST_F(NewFileTest, ReplacesAFileAtOnceAndLeavesItAloneUntilThen) {
  folder_.write("file", "old");
  const std::filesystem::path link = folder_ / "link";
  std::filesystem::create_hard_link(path_, link);
  NewFile file(path_);
  write(file, "new");
  EXPECT_EQ(content_of(path_), "old");
  file.put_in_place();
  EXPECT_EQ(content_of(path_), "new");
  EXPECT_EQ(content_of(link), "old");  // it is another file, and the old one was not written
  EXPECT_EQ(files(), 2U);
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
  EXPECT_EQ(content_of(path_), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(NewFileTest, LiesInTheWorkingFolderWithoutAnother) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  {
    NewFile file("file");
    EXPECT_EQ(files(), 1U);
    file.put_in_place();
  }
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(NewFileTest, IsRefusedWhereNoneCanBe) {
  const std::string nowhere = folder_ / "no/file";
  EXPECT_THAT(refusal(nowhere), HasSubstr("open of " + nowhere + " failed: ENOENT"));
  EXPECT_THAT(refusal(""), HasSubstr("failed: ENOENT"));
  folder_.write("file", "old");
  EXPECT_THAT(refusal(path_ / "x"), HasSubstr("file/x failed: ENOTDIR"));
  const std::string longest = folder_ / std::string(300, 'x');
  EXPECT_THAT(refusal(longest), HasSubstr(longest + " failed: ENAMETOOLONG"));
  for (const std::string& path : {std::string("/dev/full"), folder_.path().string()}) {
    EXPECT_THAT(refusal(path), HasSubstr(path + " is there and not a regular file"));
  }
  EXPECT_EQ(files(), 1U);
}

TEST_F(NewFileTest, SaysWhichSystemCallFailedAndLeavesNothing) {
  const Work work = {.run = [&]() -> Complaints {
    std::filesystem::remove(path_);
    NewFile file(path_);
    write(file, "text");
    file.put_in_place();
    return {};
  }};
  EXPECT_EQ(sweep(work, EIO), 4U);  // stat, open, write, rename
  EXPECT_EQ(files(), 1U);
  for (std::uint64_t call = 1; call <= 4; ++call) {
    EXPECT_THAT(run_with_fault(work, call, ENOSPC).error, HasSubstr("of " + path_.string()));
    EXPECT_EQ(files(), 0U);
  }
}

}  // namespace
}  // namespace tapedeck::tests
