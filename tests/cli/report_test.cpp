// A decode is recorded, and its recording becomes a page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Report : public ::testing::Test {
 protected:
  void SetUp() override {
#if !defined(TAPEDECK_WITH_REPORTS)
    GTEST_SKIP() << "built without kainjow's mustache (Debian: libkainjow-mustache-dev)";
#endif
    const Ran ran =
        run({"decode", model_, "-p", "bo", "-p", "bi", "-n", "40", "--record", recording_});
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
  EXPECT_THAT(ran.err, HasSubstr(page_ + ": "));
  EXPECT_THAT(ran.err, HasSubstr("\nthe longest talk had 20 tokens: plan a talk for 20\n"));
  EXPECT_THAT(ran.err, HasSubstr("weights peaked at 100 % of plan: it fits\n"));
  EXPECT_THAT(ran.err, HasSubstr("history peaked at 100 % of plan: it fits\n"));
  const std::string page = content_of(page_);
  EXPECT_THAT(page, StartsWith("<!doctype html>"));
  EXPECT_THAT(page, EndsWith("</html>\n"));
  EXPECT_THAT(page, HasSubstr("the longest talk had 20 tokens: plan a talk for 20"));
  for (const char* const phase : {"<bdi>load</bdi>", "<bdi>prefill</bdi>", "<bdi>decode</bdi>"}) {
    EXPECT_THAT(page, HasSubstr(phase));
  }
  // The same without a file.
  const Ran printed = run({"report", recording_});
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_EQ(printed.out, page);
}

TEST_F(Report, RefusesWhatItCannotReadOrWrite) {
  EXPECT_TRUE(refuses(run({"report", (folder_ / "none").string()}), "ENOENT"));
  EXPECT_TRUE(refuses(run({"report", folder_.path().string()}), folder_.path().string()));
  EXPECT_TRUE(refuses(run({"report", model_}), "byte 0: it is no recording of a layout"));
  EXPECT_TRUE(refuses(run({"report", recording_, "-o", (folder_ / "no/page").string()}), "ENOENT"));
  EXPECT_TRUE(refuses(run({"report", recording_, "-o", folder_.path().string()}), "regular file"));
  EXPECT_TRUE(refuses(run({"report"}), "RECORDING"));
  std::filesystem::resize_file(recording_, 3000);
  EXPECT_TRUE(refuses(run({"report", recording_, "-o", page_}), "byte 3000: it is cut off"));
  EXPECT_FALSE(std::filesystem::exists(page_));
}

TEST_F(Report, DoesNotTakeItsRecordingsPlace) {
  const std::string before = content_of(recording_);
  EXPECT_TRUE(
      refuses(run({"report", recording_, "-o", recording_}), "would replace what is read from it"));
  std::filesystem::create_symlink(recording_, page_);
  EXPECT_TRUE(
      refuses(run({"report", recording_, "-o", page_}), "would replace what is read from it"));
  EXPECT_EQ(content_of(recording_), before);
}

}  // namespace
}  // namespace tapedeck::tests
