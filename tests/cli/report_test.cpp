// SPDX-License-Identifier: Apache-2.0
// Records a decode and generates a page from the recording.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/process.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::tests {
namespace {

class Report : public ::testing::Test {
 protected:
  void SetUp() override {
#if !defined(TAPEDECK_WITH_REPORTS)
    GTEST_SKIP()
        << "Tapedeck was built without kainjow's mustache (Debian: libkainjow-mustache-dev)";
#endif
    const Ran ran =
        run({"decode", model_, "-p", "bo", "-p", "bi", "-n", "20", "--record", recording_});
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
  }

  TempFolder folder_;
  std::string model_ = made_small();
  std::string recording_ = (folder_ / "talk.jsonl").string();
  std::string page_ = (folder_ / "talk.html").string();
};

TEST_F(Report, IsAPageAndAdvice) {
  const Ran ran = run({"report", recording_, "-o", page_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out, "");
  const std::string advice =
      "the longest talk had 20 tokens: plan a talk for 20\n"
      "weights peaked at 100 % of plan: it fits\n"
      "scratch peaked at 100 % of plan: it fits\n"
      "history peaked at 100 % of plan: it fits\n";
  EXPECT_THAT(ran.err, Like(page_ + ": * KiB\n" + advice));
  const std::string page = content_of(page_);
  EXPECT_THAT(page, Like("<!doctype html>\n...\n*the longest talk had 20 tokens: plan a talk for "
                         "20*\n...\n</html>\n"));
  for (const std::string phase : {"load", "prefill", "decode"}) {
    EXPECT_NE(page.find("<bdi>" + phase + "</bdi>"), std::string::npos);
  }
  // Without a file, the page goes to standard output.
  const Ran printed = run({"report", recording_});
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_EQ(printed.out, page);
  EXPECT_EQ(printed.err, advice);
}

TEST_F(Report, SaysWhatWasRecorded) {
  const RecordedRun recorded = read_recording(recording_).run;
  EXPECT_EQ(recorded.host, internal::os::host_name());
  EXPECT_EQ(recorded.model, model_);
  EXPECT_THAT(recorded.command,
              Like("*tapedeck decode " + model_ + " -p bo -p bi -n 20 --record " + recording_));
  const std::string page = run({"report", recording_}).out;
  for (const std::string& fact : {recorded.host, recorded.model, recorded.command}) {
    EXPECT_NE(page.find("<bdi>" + fact + "</bdi>"), std::string::npos) << fact;
  }
  EXPECT_NE(page.find("<dt>Recorded</dt><dd id=\"date\"><time datetime=\"20"), std::string::npos);
}

TEST_F(Report, HasTheCommandLineAsAShellTakesIt) {
  const Ran ran = run({"decode", model_, "-p", "it's a $HOME", "-p", "", "-n", "20", "--record",
                       recording_, "--force"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(read_recording(recording_).run.command,
              Like("*tapedeck decode " + model_ + R"( -p 'it'\''s a $HOME' -p '' -n 20 --record )" +
                   recording_ + " --force"));
}

TEST_F(Report, IsMadeFromARecordingThatIsCutOff) {
  std::filesystem::resize_file(recording_, std::filesystem::file_size(recording_) - 37);
  const Ran ran = run({"report", recording_, "-o", page_});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_NE(
      ran.err.find(recording_ + " is cut off and lacks 2 lines of samples and marks at its end"),
      std::string::npos)
      << ran.err;
  EXPECT_NE(content_of(page_).find("the recording lacks 2 lines of samples and marks at its end"),
            std::string::npos);
}

TEST_F(Report, RefusesWhatItCannotReadOrWrite) {
  const std::string folder = folder_.path();
  EXPECT_TRUE(refuses(run({"report", recording_, "-o", folder + "/no/page"}),
                      "open of " + folder + "/no/page failed: ENOENT"));
  EXPECT_TRUE(refuses(run({"report", recording_, "-o", folder}),
                      folder + " exists and is not a regular file"));
  std::filesystem::resize_file(recording_, 3000);
  EXPECT_TRUE(refuses(run({"report", recording_, "-o", page_}), recording_ + ", byte 3000: "));
  EXPECT_FALSE(std::filesystem::exists(page_));
}

TEST_F(Report, ReplacesAnotherFileOnlyIfItIsForcedTo) {
  folder_.write("talk.html", "mine");
  const Words words = {"report", recording_, "-o", page_};
  EXPECT_TRUE(refuses(run(words), page_ + " exists already; "));
  EXPECT_EQ(content_of(page_), "mine");
  EXPECT_EQ(run(joined(words, {"--force"})).exit_code, 0);
  EXPECT_TRUE(content_of(page_).starts_with("<!doctype html>"));
}

TEST_F(Report, DoesNotOverwriteItsRecording) {
  const std::string before = content_of(recording_);
  std::filesystem::create_symlink(recording_, page_);
  for (const std::string& out : {recording_, page_}) {
    EXPECT_TRUE(refuses(run({"report", recording_, "-o", out}),
                        out + " would be overwritten while it is read"));
  }
  EXPECT_EQ(content_of(recording_), before);
}

}  // namespace
}  // namespace tapedeck::tests
