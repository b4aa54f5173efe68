#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

class Resident : public ::testing::Test {
 protected:
  Json resident(const fs::path& model) {
    const Ran ran = run({"resident", model, "--json"});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.err, "");
    return Json::parse(ran.out);
  }

  TempFolder folder_;
  fs::path model_ = write_gguf(folder_, "m.gguf");
};

std::uint64_t cached_of(const Json& part) { return part.at("cached").get<std::uint64_t>(); }

/// Makes a file cold; empty where it is.
std::string why_not_cold(const fs::path& path) {
  const auto left = make_cold(path);
  if (!left) return "the kernel does not tell";
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
  EXPECT_EQ(cached_of(parts.at(3)), 2 * kTensorBytes);
  EXPECT_LT(cached_of(parts.at(1)), kTensorBytes / 2);
  EXPECT_LT(cached_of(parts.at(2)), kTensorBytes / 2);
}

TEST_F(Resident, TextFitsIn80Columns) {
  const Ran ran = run({"resident", model_});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr(model_.string() + "\n  ["));
  EXPECT_THAT(ran.out, HasSubstr("\nlayer 1            ["));
  EXPECT_THAT(ran.out, HasSubstr("\nafter the layers   ["));
  EXPECT_THAT(ran.out, HasSubstr("of      2 MiB\n"));
  EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(ran.out, Not(HasSubstr("all files")));
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
}

TEST_F(Resident, FilesAreToldEachAndTogether) {
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
  EXPECT_THAT(run({"resident", model.path()}).out, HasSubstr("\nall files\n  ["));
}

TEST_F(Resident, AModelWithoutLayersIsOnePart) {
  const Json parts = resident(made(folder_, "m.bin", kSmall)).at("parts");
  ASSERT_EQ(parts.size(), 1U);
  EXPECT_EQ(parts.at(0).at("name"), "all tensors");
}

TEST_F(Resident, WhatTheKernelDoesNotTellIsUnknown) {
  const uid_t nobody = ::geteuid() == 0 ? 65'534 : 0;
  ASSERT_EQ(::chmod(model_.c_str(), 0644), 0);
  const Ran json = run({"resident", model_, "--json"}, {.user = nobody});
  if (json.exit_code >= 126) GTEST_SKIP() << "user " << nobody << " cannot run the program";
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json told = Json::parse(json.out);
  if (!told.at("cached").is_null()) GTEST_SKIP() << "this kernel tells everybody";
  EXPECT_TRUE(told.at("files").at(0).at("cached").is_null());
  EXPECT_TRUE(told.at("parts").at(1).at("cached").is_null());
  EXPECT_THAT(run({"resident", model_}, {.user = nobody}).out,
              HasSubstr("[????????????????????]   ? %     unknown of      1 MiB\n"));
}

TEST_F(Resident, ANameThatIsNoTextIsShownAllTheSame) {
  const std::string odd = write_gguf(folder_, "\x1b[2J\xff\n.gguf");
  EXPECT_THAT(run({"resident", odd}).out, HasSubstr("\\x1b[2J\xff\\x0a.gguf\n"));
  const std::string path = resident(odd).at("files").at(0).at("path");
  EXPECT_THAT(path, HasSubstr("\\x1b[2J\xEF\xBF\xBD\\x0a.gguf"));
}

TEST_F(Resident, BadInputIsRefused) {
  EXPECT_TRUE(refuses(run({"resident"}), "MODEL is required"));
  EXPECT_TRUE(refuses(run({"resident", model_, "--bogus"}), "--bogus"));
  EXPECT_TRUE(refuses(run({"resident", folder_ / "missing"}), "ENOENT"));
  EXPECT_TRUE(refuses(run({"resident", TempFolder().path()}), ""));
  const std::string fifo = folder_ / "fifo.gguf";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_TRUE(refuses(run({"resident", fifo}), "regular file"));
  const std::string bytes = content_of(model_);
  const std::string cut = folder_.write("cut.gguf", bytes.substr(0, bytes.size() - 1));
  EXPECT_TRUE(refuses(run({"resident", cut}), "1 bytes are missing"));
}

}  // namespace
}  // namespace tapedeck::tests
