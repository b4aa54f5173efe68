#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/child.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What `Layout::stat()` was at the last sample.
Stat last_of(const Recording& recording) {
  if (recording.samples() == 0) return {};
  return recording.sample(recording.samples() - 1).stat;
}

/// Phases as they were entered, and "-" where one was left.
std::vector<std::string> marks_of(const Recording& recording) {
  std::vector<std::string> all;
  for (const RecordedMark& mark : recording.marks) all.push_back(mark.entered.value_or("-"));
  return all;
}

/// The number in front of " tokens in".
std::size_t tokens_told(const std::string& said) {
  std::smatch parts;
  return std::regex_search(said, parts, std::regex("([0-9]+) tokens in ")) ? std::stoul(parts[1])
                                                                           : 0;
}

std::vector<std::string> phase_lines(const std::string& said) {
  std::vector<std::string> all;
  std::istringstream text(said);
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("phase ")) all.push_back(line);
  }
  return all;
}

class DecodeRecord : public ::testing::Test {
 protected:
  [[nodiscard]] Words decode(const Words& more) const { return decode(file_, more); }
  [[nodiscard]] Words decode(const std::filesystem::path& file, const Words& more) const {
    Words words = {"decode", model_, "--record", file};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] std::size_t tokens_of(const std::string& prompt) const {
    return llama::Tokenizer(model_ + ".tokenizer", kSmall.vocab).encode(prompt).size();
  }
  /// In the recording's folder, hidden ones too.
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }

  TempFolder folder_;
  std::filesystem::path file_ = folder_ / "recording.jsonl";
  std::string model_ = made_small();
};

TEST_F(DecodeRecord, EndsWithWhatStatSays) {
  const Ran ran = run(decode({"--stat", "-p", "ba", "-n", "9"}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const Recording recorded = read_recording(file_);
  EXPECT_EQ(recorded.layout, "decode");
  EXPECT_EQ(recorded.samples(), tokens_told(ran.err));
  const Stat last = last_of(recorded);
  EXPECT_EQ(last.passes, tokens_told(ran.err));
  EXPECT_GT(last.tokens, 0U);
  EXPECT_GT(last.scratch.peak, 0U);
  EXPECT_THAT(ran.err, HasSubstr(last.text()));
  EXPECT_EQ(files(), 1U);
}

TEST_F(DecodeRecord, HasThePhasesOfEachTalkInOrder) {
  const Ran ran = run(decode({"--stat", "-p", "ba", "-p", "bo bi", "-n", "9"}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const Recording recorded = read_recording(file_);
  EXPECT_THAT(marks_of(recorded), ElementsAre("load", "-", "prefill", "-", "decode", "-", "prefill",
                                              "-", "decode", "-"));
  EXPECT_EQ(last_of(recorded).conversations, 2U);
  EXPECT_THAT(ran.err, HasSubstr(last_of(recorded).text()));

  const std::size_t prefill = tokens_of("ba") + tokens_of("bo bi");
  const std::vector<std::string> told = phase_lines(ran.err);
  ASSERT_EQ(told.size(), 3U) << ran.err;
  EXPECT_THAT(told[0], HasSubstr("phase load: entered 1, passes 0; peaks: host "));
  EXPECT_THAT(told[1], HasSubstr("phase prefill: entered 2, passes " + std::to_string(prefill) +
                                 "; peaks: host "));
  EXPECT_THAT(told[2],
              HasSubstr("phase decode: entered 2, passes " +
                        std::to_string(tokens_told(ran.err) - prefill) + "; peaks: host "));
  const std::string peak = to_iec(last_of(recorded).history.peak);
  EXPECT_THAT(told[2], HasSubstr("host history " + peak));
}

TEST_F(DecodeRecord, KnowsTheDeviceToo) {
  const Ran ran = run(decode({"--device", "host-sim", "--stat", "-p", "ba", "-p", "bo"}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const Recording recorded = read_recording(file_);
  EXPECT_EQ(recorded.samples(), tokens_told(ran.err));
  EXPECT_EQ(last_of(recorded).gpus, 1U);
  EXPECT_GT(last_of(recorded).gpu[0].tokens, 0U);
  EXPECT_THAT(ran.err, HasSubstr(last_of(recorded).text()));
  EXPECT_EQ(marks_of(recorded).size(), 10U);
  const std::vector<std::string> told = phase_lines(ran.err);
  ASSERT_EQ(told.size(), 3U) << ran.err;
  for (const std::string& line : told) EXPECT_THAT(line, HasSubstr("peaks: gpu0 weights "));
}

TEST_F(DecodeRecord, KeepsTheNewestSamples) {
  Words prompts = {"--ids"};
  for (int talk = 0; talk < 900; ++talk) prompts.insert(prompts.end(), {"-p", "ba"});
  const Ran ran = run(decode(prompts));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  ASSERT_GT(tokens_told(ran.err), 16'384U);
  const Recording recorded = read_recording(file_);
  EXPECT_EQ(recorded.taken, tokens_told(ran.err));
  EXPECT_EQ(recorded.samples(), 16'384U);
  const Ran help = run({"decode", "--help"});
  EXPECT_THAT(help.out, HasSubstr("16384"));
}

TEST_F(DecodeRecord, ADashIsAFileAndAnOldFileIsReplaced) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  folder_.write("-", "old\n");
  const Ran ran = run(decode("-", {"-n", "3"}));
  std::filesystem::current_path(before);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(read_recording(folder_ / "-").samples(), tokens_told(ran.err));
  EXPECT_EQ(files(), 1U);
}

TEST_F(DecodeRecord, IsRefusedBeforeAnythingIsDecoded) {
  EXPECT_TRUE(refuses(run(decode(folder_ / "no/file", {})), "no/file failed: ENOENT"));
  EXPECT_TRUE(refuses(run(decode("", {})), "failed: ENOENT"));
  EXPECT_TRUE(refuses(run(decode(folder_.path(), {})), "is there and not a regular file"));
  EXPECT_TRUE(refuses(run(decode("/dev/full", {})), "/dev/full is there and not a regular file"));
  EXPECT_TRUE(refuses(run(decode(folder_ / "two\nlines/x", {})), "two\\x0alines/x"));
  EXPECT_TRUE(refuses(run({"decode", model_, "--record"}), "--record"));
  EXPECT_EQ(files(), 0U);
}

TEST_F(DecodeRecord, NeverTakesThePlaceOfTheModel) {
  const TempFolder other_folder;
  const std::string other = (other_folder.path() / "tok").string();
  std::filesystem::copy_file(model_ + ".tokenizer", other);
  std::filesystem::create_symlink(model_, folder_ / "link");
  for (const std::string& read :
       {model_, model_ + ".tokenizer", other, (folder_ / "link").string()}) {
    const std::string before = content_of(read);
    EXPECT_TRUE(refuses(run(decode(read, {"--tokenizer", other})), read + " would replace"));
    EXPECT_EQ(content_of(read), before);
  }
}

TEST_F(DecodeRecord, IsRefusedWhereItMayNotBeWritten) {
  // Root writes everywhere, so somebody else tries.
  const uid_t nobody = ::geteuid() == 0 ? 65'534 : 0;
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0555));
  for (const char* const suffix : {"", ".tokenizer"}) {
    std::filesystem::permissions(model_ + suffix, std::filesystem::perms(0644));
  }
  const Ran readable = run({"decode", model_, "-n", "2"}, {.user = nobody});
  if (readable.exit_code >= 126) GTEST_SKIP() << "user " << nobody << " cannot run the program";
  EXPECT_TRUE(refuses(run(decode({}), {.user = nobody}), file_.string() + " failed: EACCES"));
}

// Then, most of all, somebody wants to know.
TEST_F(DecodeRecord, IsWrittenWhereDecodingFails) {
  folder_.write("recording.jsonl", "old\n");
  const End full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_TRUE(refuses(run(decode({}), {.out = full.get()}), "ENOSPC"));
  EXPECT_NO_THROW(static_cast<void>(read_recording(file_)));
  EXPECT_EQ(files(), 1U);
}

TEST_F(DecodeRecord, AFullDiskIsAnErrorThatNamesTheFile) {
  constexpr int kNoMount = 77;
  const Ended ended = Child([&] {
                        const char* const at = folder_.path().c_str();
                        if (::unshare(CLONE_NEWNS) != 0 ||
                            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                            ::mount("tmpfs", at, "tmpfs", 0, "size=4096") != 0) {
                          ::_exit(kNoMount);
                        }
                        const Ran ran = run(decode({}));
                        EXPECT_EQ(ran.exit_code, 2);
                        EXPECT_THAT(ran.err, HasSubstr("tokens/s\ntapedeck: write of " +
                                                       file_.string() + " failed: ENOSPC"));
                        EXPECT_EQ(files(), 0U);
                      }).wait();
  if (ended.exit_code == kNoMount) GTEST_SKIP() << "only root can mount a small file system";
  EXPECT_TRUE(passed(ended));
}

class DecodeRecordStopped : public ::testing::Test {
 protected:
  [[nodiscard]] Words decode() const {
    Words words = {"decode", model_, "-n", "0", "--ids", "--record", file_};
    for (int talk = 0; talk < 100; ++talk) words.insert(words.end(), {"-p", "bo"});
    return words;
  }

  TempFolder folder_;
  std::filesystem::path file_ = folder_ / "recording.jsonl";
  std::string model_ = made_for_long_talks();
};

TEST_F(DecodeRecordStopped, IsWrittenAfterASignal) {
  Pipe out;
  Program program(decode(), {.out = out.write.get()});
  out.write.close();
  EXPECT_NE(out.read.read_some(), "");
  program.send(SIGINT);
  static_cast<void>(out.read.read_all());
  const Ran ran = program.wait();
  EXPECT_EQ(ran.exit_code, 130);
  const Recording recorded = read_recording(file_);
  ASSERT_FALSE(marks_of(recorded).empty());
  EXPECT_GT(tokens_told(ran.err), 0U);
  EXPECT_LT(tokens_told(ran.err), 100'000U);  // it was not through
  EXPECT_EQ(recorded.taken, tokens_told(ran.err));
  EXPECT_EQ(last_of(recorded).passes, tokens_told(ran.err));
  EXPECT_EQ(marks_of(recorded).back(), "-");
}

TEST_F(DecodeRecordStopped, IsWrittenWhenNobodyReadsAnyMore) {
  Pipe out;
  Program program(decode(), {.out = out.write.get()});
  out.write.close();
  EXPECT_NE(out.read.read_some(), "");
  out.read.close();
  const Ran ran = program.wait();
  EXPECT_EQ(ran.exit_code, 141);
  EXPECT_EQ(ran.err, "");
  const Recording recorded = read_recording(file_);
  ASSERT_FALSE(marks_of(recorded).empty());
  EXPECT_GT(last_of(recorded).passes, 0U);
  EXPECT_EQ(marks_of(recorded).back(), "-");
}

}  // namespace
}  // namespace tapedeck::tests
