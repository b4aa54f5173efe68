// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/pages.hpp"
#include "os/self.hpp"
#include "tapedeck/memory/block.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
namespace fs = std::filesystem;

class Resident : public ::testing::Test {
 protected:
  Json resident(const fs::path& model) { return json_of({"resident", model}); }

  TempFolder folder_;
  fs::path model_ = write_gguf(folder_, "m.gguf");
};

std::uint64_t cached_of(const Json& part) { return part.at("cached").get<std::uint64_t>(); }

/// Removes a file from the page cache. Returns why some of it is still or may still be there, or
/// "".
std::string why_not_cold(const fs::path& path) {
  const End file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ::fsync(file.get());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  const auto left = internal::os::cached_file_bytes(file.get(), 0, fs::file_size(path));
  if (!left) return "the kernel does not report residency";
  return *left == 0 ? "" : "the kernel keeps " + std::to_string(*left) + " bytes";
}

#define SKIP_UNLESS_COLD(path) \
  if (const std::string why = why_not_cold(path); !why.empty()) GTEST_SKIP() << why

TEST_F(Resident, AColdModelIsThereAfterAWarm) {
  SKIP_UNLESS_COLD(model_);
  const std::uint64_t bytes = fs::file_size(model_);
  const Json cold = resident(model_);
  EXPECT_EQ(cold.at("schema"), 1);
  EXPECT_EQ(cold.at("bytes"), bytes);
  EXPECT_LT(cached_of(cold), bytes / 2);
  ASSERT_EQ(run({"warm", model_}).exit_code, 0);
  // The kernel may reclaim clean pages unless they are locked. (A sanitizer locks nothing.)
  EXPECT_GT(cached_of(resident(model_)), bytes / 2);
  Block held = Block::map_file(model_);
  if (!held.lock() || kSanitized) return;
  const Json warm = resident(model_);
  EXPECT_EQ(cached_of(warm), bytes);
  EXPECT_EQ(cached_of(warm.at("files").at(0)), bytes);
  for (const Json& part : warm.at("parts")) EXPECT_EQ(part.at("cached"), part.at("bytes"));
}

TEST_F(Resident, PartsAreInTheOrderOfAPass) {
  const Json told = resident(model_);
  std::vector<std::string> names;
  std::uint64_t bytes = 0;
  for (const Json& part : told.at("parts")) {
    names.push_back(part.at("name"));
    bytes += part.at("bytes").get<std::uint64_t>();
  }
  EXPECT_THAT(names, ElementsAre("before the layers", "layer 0", "layer 1", "after the layers"));
  EXPECT_EQ(bytes, 5 * kTensorBytes);
  EXPECT_TRUE(told.at("parts").at(0).at("layer").is_null());
  EXPECT_EQ(told.at("parts").at(2).at("layer"), 1);
  EXPECT_EQ(told.at("parts").at(3).at("tensors"), 2);
  EXPECT_EQ(told.at("parts").at(3).at("bytes"), 2 * kTensorBytes);
}

TEST_F(Resident, APartIsJudgedByItsOwnBytes) {
  SKIP_UNLESS_COLD(model_);
  const End file(::open(model_.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM), 0);
  std::vector<char> tail(2 * kTensorBytes);
  const auto at = static_cast<off_t>(fs::file_size(model_) - tail.size());
  ASSERT_EQ(::pread(file.get(), tail.data(), tail.size(), at), static_cast<ssize_t>(tail.size()));
  const Json parts = resident(model_).at("parts");
  EXPECT_GT(cached_of(parts.at(3)),
            kTensorBytes);  // the kernel may reclaim some of its clean pages
  EXPECT_LT(cached_of(parts.at(1)), kTensorBytes / 2);
  EXPECT_LT(cached_of(parts.at(2)), kTensorBytes / 2);
}

TEST_F(Resident, TextFitsIn80Columns) {
  const std::string bar = "  [*] * %   * of ";
  const std::string text = run({"resident", model_}).out;
  EXPECT_THAT(
      text, Like("in the page cache, which all processes share\n\n" + model_.string() + "\n" + bar +
                 "     5 MiB\n\n"
                 "before the layers" +
                 bar +
                 "     1 MiB\n"
                 "layer 0          " +
                 bar +
                 "     1 MiB\n"
                 "layer 1          " +
                 bar +
                 "     1 MiB\n"
                 "after the layers " +
                 bar + "     2 MiB\n"));
  EXPECT_LE(width_of(text), 80U);
}

TEST_F(Resident, FilesAreReportedSeparatelyAndTogether) {
  const ThreeFiles model;
  const Json told = resident(model.path());
  ASSERT_EQ(told.at("files").size(), 3U);
  std::uint64_t bytes = 0;
  for (const Json& file : told.at("files")) {
    EXPECT_EQ(file.at("bytes"), fs::file_size(file.at("path").get<std::string>()));
    bytes += file.at("bytes").get<std::uint64_t>();
  }
  EXPECT_EQ(told.at("bytes"), bytes);
  EXPECT_EQ(told.at("parts").size(), 3U);
  EXPECT_THAT(run({"resident", model.path()}).out, Like("...\nall files\n  [*] *\n\n...\n"));
}

TEST_F(Resident, AModelWithoutLayersIsOnePart) {
  const Json parts = resident(made(folder_, "m.bin", kSmall)).at("parts");
  ASSERT_EQ(parts.size(), 1U);
  EXPECT_EQ(parts.at(0).at("name"), "all tensors");
}

TEST_F(Resident, WhatTheKernelDoesNotTellIsUnknown) {
  const auto nobody = as_nobody();
  if (!nobody) GTEST_SKIP() << "no other user can run the program";
  ASSERT_EQ(::chmod(model_.c_str(), 0644), 0);
  const Json told = json_of({"resident", model_}, 0, *nobody);
  if (!told.at("cached").is_null()) GTEST_SKIP() << "this kernel reports it to every user";
  EXPECT_TRUE(told.at("files").at(0).at("cached").is_null());
  EXPECT_TRUE(told.at("parts").at(1).at("cached").is_null());
  EXPECT_THAT(
      run({"resident", model_}, *nobody).out,
      Like(
          "...\nlayer 0            [????????????????????]   ? %     unknown of      1 MiB\n...\n"));
}

TEST_F(Resident, ANameThatIsNotTextIsStillShown) {
  const std::string odd = write_gguf(folder_, "\x1b[2J\xff\n.gguf");
  EXPECT_THAT(run({"resident", odd}).out, Like("...\n*/\\x1b[2J\xff\\x0a.gguf\n...\n"));
  const std::string path = resident(odd).at("files").at(0).at("path");
  EXPECT_TRUE(path.ends_with("/\\x1b[2J\xEF\xBF\xBD\\x0a.gguf")) << path;
}

}  // namespace
}  // namespace tapedeck::tests
