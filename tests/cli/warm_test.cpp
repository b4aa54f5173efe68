#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/limits.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

Json warm_json(Words words, int exit_code = 0) {
  words.insert(words.begin(), "warm");
  words.emplace_back("--json");
  const Ran ran = run(words);
  EXPECT_EQ(ran.exit_code, exit_code) << ran.err;
  return Json::parse(ran.out);
}

class WarmWays : public ::testing::TestWithParam<std::string> {
 protected:
  // Warms a model of so many files by this way, and checks all that is told.
  void check(const fs::path& model, std::size_t files) {
    const Json told = warm_json({model, "--way", GetParam(), "--threads", "2"});
    EXPECT_EQ(told.at("schema"), 1);
    EXPECT_EQ(told.at("model"), model.string());
    EXPECT_EQ(told.at("end"), "complete");
    ASSERT_EQ(told.at("files").size(), files);
    std::uint64_t bytes = 0;
    for (const Json& file : told.at("files")) {
      EXPECT_EQ(file.at("bytes"), fs::file_size(file.at("path").get<std::string>()));
      bytes += file.at("bytes").get<std::uint64_t>();
      EXPECT_NE(file.at("why"), "");
      // Not every file system can read directly, and says so.
      const std::string way = file.at("way");
      if (GetParam() == "direct" && way == "read") {
        EXPECT_THAT(file.at("why").get<std::string>(), HasSubstr("refused"));
      } else if (GetParam() != "automatic") {
        EXPECT_EQ(way, GetParam());
      }
    }
    const auto warmed = told.at("warmed").get<std::uint64_t>();
    EXPECT_EQ(told.at("asked"), warmed);
    EXPECT_LE(warmed, bytes);
    EXPECT_GT(warmed, bytes - files * 4096);  // headers are mapped, and not read
    if (GetParam() == "map") {
      EXPECT_EQ(warmed, bytes);
    }
    EXPECT_GT(told.at("seconds"), 0.0);
    EXPECT_NEAR(told.at("bytes_per_second").get<double>() * told.at("seconds").get<double>(),
                static_cast<double>(warmed), 1.0);
    if (!told.at("present").is_null()) {
      EXPECT_GE(told.at("present"), warmed - files * 4096);
    }
    EXPECT_GT(told.at("minor_faults"), 0);
    EXPECT_EQ(told.at("locked"), false);
  }

  TempFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(All, WarmWays, ::testing::Values("automatic", "map", "read", "direct"),
                         [](const auto& way) { return way.param; });

TEST_P(WarmWays, BringInAGgufFile) { check(write_gguf(folder_, "m.gguf"), 1); }

TEST_P(WarmWays, BringInASafetensorsFile) {
  check(write_tensors(folder_, "m.safetensors", "w.", {3'000'000, 17}), 1);
}

TEST_P(WarmWays, BringInFilesWithAnIndex) { check(ThreeFiles().path(), 3); }

class Warm : public ::testing::Test {
 protected:
  Ran warm(const Words& more, const Program::Options& options = {}) {
    Words words = {"warm", model_};
    words.insert(words.end(), more.begin(), more.end());
    return run(words, options);
  }

  TempFolder folder_;
  std::string model_ = write_gguf(folder_, "m.gguf");
};

TEST_F(Warm, TextIsForPeople) {
  const Ran ran = warm({});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, HasSubstr("m.gguf: 5 MiB, map (the default: it stays in the page cache)"));
  EXPECT_THAT(ran.out, HasSubstr("end       complete\n"));
  EXPECT_THAT(ran.out, HasSubstr("warmed    5 MiB of 5 MiB (" +
                                 std::to_string(fs::file_size(model_)) + " bytes)\n"));
  EXPECT_THAT(ran.out, HasSubstr(" GB/s\n"));
  EXPECT_THAT(ran.out, HasSubstr(" minor, "));
  EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(warm({"--way", "map"}).out, HasSubstr("map (as asked)"));
}

TEST_F(Warm, ADeadlineThatPassedIsExitCode4) {
  const Ran ran = warm({"--deadline", "0"});
  EXPECT_EQ(ran.exit_code, 4);
  EXPECT_EQ(ran.err, "tapedeck: the deadline of 0 s passed: 0 B of 5 MiB were warmed\n");
  EXPECT_THAT(ran.out, HasSubstr("end       past its deadline\n"));
  EXPECT_EQ(warm_json({model_, "--deadline", "0.0"}, 4).at("warmed"), 0);
  EXPECT_EQ(warm({"--deadline", "599.5"}).exit_code, 0);
  EXPECT_EQ(warm({"--deadline", ".5e3"}).exit_code, 0);
}

TEST_F(Warm, TooLittleMemoryIsExitCode3) {
  const auto budget = os::memory_budget();
  if (!budget) GTEST_SKIP() << "the host does not tell what is left";
  const auto giant = write_sparse(folder_, round_up(2 * budget->available, 1_MiB));
  if (!giant) GTEST_SKIP() << "no sparse file of twice the memory here";
  const Ran ran = run({"warm", *giant});
  EXPECT_EQ(ran.exit_code, 3) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("the rest does not fit in the "));
  EXPECT_THAT(ran.err, HasSubstr("0 B of " + to_iec(fs::file_size(*giant)) + " were warmed\n"));
  EXPECT_THAT(ran.out, HasSubstr("end       over budget\n"));
  EXPECT_THAT(ran.out, HasSubstr("present   unknown\n"));
  const Json told = warm_json({*giant}, 3);
  EXPECT_GT(told.at("budget").at("available"), 0);
  EXPECT_NE(told.at("budget").at("limit"), "");
}

TEST_F(Warm, ALockIsHadOrTold) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const Json told = warm_json({model_, "--lock"});
  EXPECT_EQ(told.at("locked").get<bool>(), told.at("unmet").empty());

  const uid_t nobody = ::geteuid() == 0 ? 65'534 : 0;
  ASSERT_EQ(::chmod(model_.c_str(), 0644), 0);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  const rlimit low = {.rlim_cur = 4096, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &low), 0);
  const Ran ran = warm({"--lock"}, {.user = nobody});
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
  if (ran.exit_code >= 126) GTEST_SKIP() << "user " << nobody << " cannot run the program";
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("unmet     lock: ENOMEM (asked 5 MiB, limit 4 KiB)\n"));
}

TEST_F(Warm, ANameThatIsNoTextIsShownAllTheSame) {
  const std::string odd = write_gguf(folder_, "\x1b[2J\xff\n.gguf");
  EXPECT_THAT(run({"warm", odd}).out, HasSubstr("\\x1b[2J\xff\\x0a.gguf: 5 MiB"));
  const std::string path = warm_json({odd}).at("files").at(0).at("path");
  EXPECT_THAT(path, HasSubstr("\\x1b[2J\xEF\xBF\xBD\\x0a.gguf"));
}

TEST_F(Warm, WhatIsNoModelIsRefused) {
  EXPECT_TRUE(refuses(run({"warm", folder_ / "missing"}), "ENOENT"));
  EXPECT_TRUE(refuses(run({"warm", TempFolder().path()}), ""));
  const std::string fifo = folder_ / "fifo.gguf";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_TRUE(refuses(run({"warm", fifo}), "regular file"));
  const std::string bytes = content_of(model_);
  const std::string cut = folder_.write("cut.gguf", bytes.substr(0, bytes.size() - 1));
  EXPECT_TRUE(refuses(run({"warm", cut}), "1 bytes are missing"));
  const std::string header =
      folder_.write("header.gguf", bytes.substr(0, bytes.size() - 5 * kTensorBytes));
  EXPECT_TRUE(refuses(run({"warm", header}), "ends before its tensors do"));
  const std::string index =
      folder_.write("sharded/model.safetensors.index.json",
                    R"({"weight_map":{"a":"model-00001-of-00001.safetensors"}})");
  EXPECT_TRUE(refuses(run({"warm", index}), "model-00001-of-00001.safetensors"));
}

TEST_F(Warm, BadOptionsAreRefused) {
  EXPECT_TRUE(refuses(run({"warm"}), "MODEL is required"));
  for (const char* way : {"shared", "mmap", "1", ""}) {
    EXPECT_TRUE(refuses(warm({"--way", way}), "--way")) << way;
  }
  for (const char* threads : {"0", "1025", "-1", "1.5", "x"}) {
    EXPECT_TRUE(refuses(warm({"--threads", threads}), "--threads")) << threads;
  }
  for (const char* seconds : {"-1", "-0.5", "nan", "inf", "1e300", "1,5", "1s", "0x5", " 1", ""}) {
    EXPECT_TRUE(refuses(warm({"--deadline", seconds}), "--deadline")) << seconds;
  }
}

TEST_F(Warm, ATerminalShowsProgress) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  Terminal terminal;
  const Ran ran = warm({}, {.err = terminal.side->get()});
  const std::string shown = terminal.printed();
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(shown, HasSubstr("\r[####################] 100 %  5 MiB of 5 MiB  "));
  EXPECT_THAT(shown, HasSubstr(" GB/s  ETA 0:00"));
  EXPECT_TRUE(shown.ends_with("\r\x1b[K")) << "the line is not gone";
}

TEST_F(Warm, CtrlCStopsItCleanly) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  const auto large = write_sparse(folder_, 4_GiB);
  if (!large) GTEST_SKIP() << "no sparse file of 4 GiB here";
  for (const int signal : {SIGINT, SIGTERM}) {
    Terminal terminal;
    Program program({"warm", *large, "--threads", "1", "--json"}, {.err = terminal.side->get()});
    std::string shown = terminal.control.read_some();
    program.send(signal);
    const Ran ran = program.wait();
    shown += terminal.printed();
    ASSERT_EQ(ran.exit_code, 130) << shown;
    EXPECT_THAT(shown, HasSubstr("\r\x1b[Ktapedeck: stopped: "));
    EXPECT_THAT(shown, HasSubstr(" of 4 GiB were warmed\r\n"));
    const Json told = Json::parse(ran.out);
    EXPECT_EQ(told.at("end"), "stopped");
    EXPECT_GT(told.at("warmed"), 0);
    EXPECT_LT(told.at("warmed"), told.at("asked"));
  }
}

TEST_F(Warm, HelpTellsWhatStays) {
  const Ran help = run({"warm", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("stay in the page cache"));
  EXPECT_THAT(run({"--help"}).out, HasSubstr("\n  warm "));
}

}  // namespace
}  // namespace tapedeck::tests
