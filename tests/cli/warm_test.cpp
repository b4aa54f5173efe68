// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/limits.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/model/read_model.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

namespace fs = std::filesystem;

class WarmWays : public ::testing::TestWithParam<std::string> {
 protected:
  // Warms a model with this number of files by the given `Way`, and checks everything that is
  // reported.
  void expect_warmed(const fs::path& model, std::size_t files) {
    const Json told = json_of({"warm", model, "--way", GetParam(), "--threads", "2"});
    EXPECT_EQ(told.at("schema"), 1);
    EXPECT_EQ(told.at("model"), model.string());
    EXPECT_EQ(told.at("end"), "complete");
    ASSERT_EQ(told.at("files").size(), files);
    std::uint64_t bytes = 0;
    for (const Json& file : told.at("files")) {
      EXPECT_EQ(file.at("bytes"), fs::file_size(file.at("path").get<std::string>()));
      bytes += file.at("bytes").get<std::uint64_t>();
      EXPECT_NE(file.at("why"), "");
      // Not every file system supports direct reads; the program reports that.
      const std::string way = file.at("way");
      if (GetParam() == "direct" && way == "read") {
        EXPECT_NE(file.at("why").get<std::string>().find("refused"), std::string::npos);
      } else if (GetParam() != "automatic") {
        EXPECT_EQ(way, GetParam());
      }
    }
    const auto warmed = told.at("warmed").get<std::uint64_t>();
    EXPECT_EQ(told.at("asked"), warmed);
    EXPECT_LE(warmed, bytes);
    EXPECT_GT(warmed, bytes - files * 4096);  // headers are mapped rather than read
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

TEST_P(WarmWays, BringInAGgufFile) { expect_warmed(write_gguf(folder_, "m.gguf"), 1); }

TEST_P(WarmWays, BringInASafetensorsFile) {
  expect_warmed(make_file(folder_, "m.safetensors", {.sizes = {3'000'000, 17}}), 1);
}

TEST_P(WarmWays, BringInFilesWithAnIndex) { expect_warmed(ThreeFiles().path(), 3); }

class Warm : public ::testing::Test {
 protected:
  Ran warm(const Words& more, const ProgramOptions& options = {}) {
    return run(joined({"warm", model_}, more), options);
  }

  TempFolder folder_;
  std::string model_ = write_gguf(folder_, "m.gguf");
};

TEST_F(Warm, TextIsForPeople) {
  const Ran ran = warm({});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, Like("file      " + model_ +
                            ": 5 MiB, map (the default: the file stays in the page cache)\n\n"
                            "end       complete\n"
                            "warmed    5 MiB of 5 MiB (" +
                            std::to_string(fs::file_size(model_)) +
                            " bytes)\n"
                            "time      * s, * GB/s\n"
                            "before    *\n"
                            "present   *\n"
                            "huge      *\n"
                            "faults    * minor, * major\n"));
  EXPECT_THAT(warm({"--way", "map"}).out, Like("file      *: 5 MiB, map (as requested)\n...\n"));
}

TEST_F(Warm, ADeadlineThatPassedIsExitCode4) {
  const Ran ran = warm({"--deadline", "0"});
  EXPECT_EQ(ran.exit_code, 4);
  EXPECT_EQ(ran.err, "tapedeck: the deadline of 0 s passed: warmed 0 B of 5 MiB\n");
  const Json told = json_of({"warm", model_, "--deadline", "0.0"}, 4);
  EXPECT_EQ(told.at("end"), "past its deadline");
  EXPECT_EQ(told.at("warmed"), 0);
  EXPECT_TRUE(told.at("bytes_per_second").is_null());
  EXPECT_THAT(ran.out,
              Like("...\nwarmed    0 B of 5 MiB (0 bytes)\ntime      *.* s\nbefore*\n...\n"));
  EXPECT_EQ(ran.out.find("GB/s"), std::string::npos);
  EXPECT_EQ(warm({"--deadline", "599.5"}).exit_code, 0);
  EXPECT_EQ(warm({"--deadline", ".5e3"}).exit_code, 0);
}

TEST_F(Warm, TooLittleMemoryIsExitCode3) {
  const auto budget = os::memory_budget();
  if (!budget) GTEST_SKIP() << "the host does not report how much is left";
  const auto giant = write_sparse(folder_, round_up(2 * budget->available, 1_MiB));
  if (!giant) GTEST_SKIP() << "cannot create a sparse file of twice the memory";
  const Ran ran = run({"warm", *giant});
  EXPECT_EQ(ran.exit_code, 3) << ran.err;
  EXPECT_THAT(ran.err,
              Like("tapedeck: the rest does not fit in the * that is left (*): warmed 0 B of " +
                   to_iec(fs::file_size(*giant)) + "\n"));
  const Json told = json_of({"warm", *giant}, 3);
  EXPECT_EQ(told.at("end"), "over budget");
  EXPECT_TRUE(told.at("present").is_null());
  EXPECT_GT(told.at("budget").at("available"), 0);
  EXPECT_NE(told.at("budget").at("limit"), "");
}

TEST_F(Warm, AFileWithHolesIsAWarning) {
  const auto sparse = write_sparse(folder_, 1_MiB);
  if (!sparse) GTEST_SKIP() << "cannot create a sparse file";
  const std::uint64_t unwritten = read_model(*sparse).tensors.files()[0].unwritten;
  if (unwritten == 0) GTEST_SKIP() << "this file system does not report holes";
  const std::string warning = "sparse.gguf has holes: " + to_iec(unwritten) +
                              " of its tensors were never written and read as zeros; if it was "
                              "downloaded, that is incomplete";
  EXPECT_THAT(run({"warm", *sparse}).out, ::testing::EndsWith("\nwarning: " + warning + "\n"));
  EXPECT_THAT(json_of({"warm", *sparse}).at("warnings"), ::testing::ElementsAre(warning));
  EXPECT_EQ(json_of({"warm", model_}).at("warnings"), Json::array());
}

TEST_F(Warm, ALockIsHeldOrReported) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const Json told = json_of({"warm", model_, "--lock"});
  EXPECT_EQ(told.at("locked").get<bool>(), told.at("unmet").empty());

  const auto nobody = as_nobody();
  if (!nobody) GTEST_SKIP() << "no other user can run the program";
  ASSERT_EQ(::chmod(model_.c_str(), 0644), 0);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  const rlimit low = {.rlim_cur = 4096, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &low), 0);
  const Ran ran = warm({"--lock"}, *nobody);
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_TRUE(ran.out.ends_with("\nunmet     lock: ENOMEM (requested 5 MiB, limit 4 KiB)\n"))
      << ran.out;
}

TEST_F(Warm, ANameThatIsNotTextIsStillShown) {
  const std::string odd = write_gguf(folder_, "\x1b[2J\xff\n.gguf");
  EXPECT_THAT(run({"warm", odd}).out, Like("file      */\\x1b[2J\xff\\x0a.gguf: 5 MiB*\n...\n"));
  const std::string path = json_of({"warm", odd}).at("files").at(0).at("path");
  EXPECT_TRUE(path.ends_with("/\\x1b[2J\xEF\xBF\xBD\\x0a.gguf")) << path;
}

TEST_F(Warm, ATerminalShowsProgress) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  Terminal terminal;
  const Ran ran = warm({}, {.err = terminal.side.get()});
  EXPECT_EQ(ran.exit_code, 0);
  // The progress line is erased.
  EXPECT_THAT(terminal.printed(),
              Like("*\r[####################] 100 %  5 MiB of 5 MiB  * GB/s  ETA 0:00*\r\x1b[K"));
}

TEST_F(Warm, CtrlCStopsItCleanly) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  const auto large = write_sparse(folder_, 4_GiB);
  if (!large) GTEST_SKIP() << "cannot create a sparse file of 4 GiB";
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Terminal terminal;
    Program program({"warm", *large, "--threads", "1", "--json"}, {.err = terminal.side.get()});
    std::string shown = terminal.control.read_some();
    program.send(signal);
    const Ran ran = program.wait();
    shown += terminal.printed();
    ASSERT_EQ(ran.exit_code, 130) << shown;
    EXPECT_THAT(shown, Like("*\r\x1b[Ktapedeck: stopped: warmed * of 4 GiB\r\n"));
    const Json told = Json::parse(ran.out);
    EXPECT_EQ(told.at("end"), "stopped");
    EXPECT_GT(told.at("warmed"), 0);
    EXPECT_LT(told.at("warmed"), told.at("asked"));
  }
}

}  // namespace
}  // namespace tapedeck::tests
