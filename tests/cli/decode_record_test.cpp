// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/child.hpp"
#include "os/shared_folder.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;

/// `Layout::stat()` at the last sample.
Stat last_of(const Recording& recording) {
  if (recording.samples() == 0) return {};
  return recording.sample(recording.samples() - 1).stat;
}

/// The phases in the order in which they were entered, and "-" where one was left.
std::vector<std::string> marks_of(const Recording& recording) {
  std::vector<std::string> all;
  for (const RecordedMark& mark : recording.marks) all.push_back(mark.entered.value_or("-"));
  return all;
}

/// The number before " tokens in".
std::size_t tokens_told(const std::string& said) {
  std::smatch parts;
  return std::regex_search(said, parts, std::regex("([0-9]+) tokens? in ")) ? std::stoul(parts[1])
                                                                            : 0;
}

/// What `--stat` prints: the speed, the last state of the memory, and the phases.
std::string said_of(const Recording& recording, const std::string& phases) {
  return "...\n* tokens in *\n" + last_of(recording).text() + phases;
}

class DecodeRecord : public ::testing::Test {
 protected:
  [[nodiscard]] Words decode(const Words& more) const { return decode(file_, more); }
  [[nodiscard]] Words decode(const std::filesystem::path& file, const Words& more) const {
    return joined({"decode", model_, "--record", file}, more);
  }
  /// Decodes, and returns the recording of it.
  Recording recorded(const Words& more) {
    said_ = run(decode(more));
    EXPECT_EQ(said_.exit_code, 0) << said_.err;
    Recording recording = read_recording(file_);
    EXPECT_EQ(recording.taken, tokens_told(said_.err));
    EXPECT_EQ(last_of(recording).passes, tokens_told(said_.err));
    return recording;
  }
  [[nodiscard]] Words long_decode() const {
    return with_talks(100, {"decode", made_large(), "-n", "0", "--ids", "--record", file_});
  }
  [[nodiscard]] std::size_t tokens_of(const std::string& prompt) const {
    return llama::Tokenizer(model_ + ".tokenizer", kSmall.vocab).encode(prompt).size();
  }
  /// The number of files in the recording's folder, including hidden ones.
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }

  TempFolder folder_;
  std::filesystem::path file_ = folder_ / "recording.jsonl";
  std::string model_ = made_small();
  Ran said_;
};

TEST_F(DecodeRecord, HasThePhasesOfEachTalkInOrder) {
  const Recording recording = recorded({"--stat", "-p", "ba", "-p", "bo bi", "-n", "9"});
  EXPECT_EQ(recording.layout, "decode");
  EXPECT_EQ(recording.samples(), recording.taken);
  EXPECT_THAT(marks_of(recording), ElementsAre("load", "-", "prefill", "-", "decode", "-",
                                               "prefill", "-", "decode", "-"));
  const Stat last = last_of(recording);
  EXPECT_EQ(last.conversations, 1U);  // the other one has not ended
  EXPECT_GT(last.tokens, 0U);
  EXPECT_GT(last.scratch.peak, 0U);
  const std::size_t prefill = tokens_of("ba") + tokens_of("bo bi");
  EXPECT_THAT(said_.err, Like(said_of(recording,
                                      "phase load: entered 1, passes 0; peaks: host *\n"
                                      "phase prefill: entered 2, passes " +
                                          std::to_string(prefill) +
                                          "; peaks: host *\n"
                                          "phase decode: entered 2, passes " +
                                          std::to_string(last.passes - prefill) +
                                          "; peaks: host *, host history " +
                                          to_iec(last.history.peak) + "\n")));
  EXPECT_EQ(files(), 1U);
}

TEST_F(DecodeRecord, KnowsTheDeviceToo) {
  const Recording recording = recorded({"--device", "host-sim", "--stat", "-p", "ba", "-p", "bo"});
  EXPECT_EQ(last_of(recording).gpus, 1U);
  EXPECT_GT(last_of(recording).gpu[0].tokens, 0U);
  EXPECT_EQ(marks_of(recording).size(), 10U);
  EXPECT_THAT(said_.err, Like(said_of(recording,
                                      "phase load: *; peaks: gpu0 weights *\n"
                                      "phase prefill: *; peaks: gpu0 weights *\n"
                                      "phase decode: *; peaks: gpu0 weights *\n"
                                      "layers: 2 resident, 0 taking turns in *\n")));
}

TEST_F(DecodeRecord, KeepsTheNewestSamples) {
  const Recording recording = recorded(with_talks(900, {"--ids"}));
  ASSERT_GT(recording.taken, 16'384U);
  EXPECT_EQ(recording.samples(), 16'384U);
  EXPECT_THAT(run({"decode", "--help"}).out,
              Like("...\n*the last 16384 samples, one after each pass*\n...\n"));
}

TEST_F(DecodeRecord, ADashIsAFileAndAnOldFileIsReplacedIfForced) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  folder_.write("-", "old\n");
  EXPECT_TRUE(refuses(run(decode("-", {"-n", "3"})), "- exists already; "));
  EXPECT_EQ(content_of(folder_ / "-"), "old\n");
  const Ran ran = run(decode("-", {"-n", "3", "--force"}));
  std::filesystem::current_path(before);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(read_recording(folder_ / "-").samples(), tokens_told(ran.err));
  EXPECT_EQ(files(), 1U);
}

TEST_F(DecodeRecord, NeverTakesThePlaceOfTheModel) {
  const TempFolder other_folder;
  const std::string other = (other_folder.path() / "tok").string();
  std::filesystem::copy_file(model_ + ".tokenizer", other);
  std::filesystem::create_symlink(model_, folder_ / "link");
  for (const std::string& read :
       {model_, model_ + ".tokenizer", other, (folder_ / "link").string()}) {
    const std::string before = content_of(read);
    EXPECT_TRUE(refuses(run(decode(read, {"--tokenizer", other})), read + " would be overwritten"));
    EXPECT_EQ(content_of(read), before);
  }
}

// A recording is most useful after a failure.
TEST_F(DecodeRecord, IsWrittenWhereDecodingFails) {
  folder_.write("recording.jsonl", "old\n");
  const End full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_TRUE(refuses(run(decode({"--force"}), {.out = full.get()}),
                      "write of standard output failed: ENOSPC"));
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
                        EXPECT_THAT(ran.err, Like("* tokens/s\ntapedeck: write of " +
                                                  file_.string() + " failed: ENOSPC*\n"));
                        EXPECT_EQ(files(), 0U);
                      }).wait();
  if (ended.exit_code == kNoMount) GTEST_SKIP() << "only root can mount a small file system";
  EXPECT_TRUE(passed(ended));
}

TEST_F(DecodeRecord, IsRefusedWhereItMayNotBeWritten) {
  const auto nobody = as_nobody();
  if (!nobody) GTEST_SKIP() << "no other user can run the program";
  for (const char* const part : {"", ".tokenizer"}) {
    std::filesystem::permissions(model_ + part, std::filesystem::perms(0644));
  }
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0555));
  EXPECT_TRUE(refuses(run(decode({}), *nobody), "open of " + file_.string() + " failed: EACCES"));
}

TEST_F(DecodeRecord, IsWrittenAfterASignal) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    std::filesystem::remove(file_);
    Piped decode(long_decode());
    EXPECT_NE(decode.pipe.read.read_some(), "");
    // One closed terminal sends SIGHUP several times.
    for (int i = 0; i < (signal == SIGHUP ? 1000 : 1); ++i) decode.program.send(signal);
    const Ran ran = decode.finish();
    EXPECT_EQ(ran.exit_code, 130);
    const Recording recorded = read_recording(file_);
    ASSERT_FALSE(marks_of(recorded).empty());
    EXPECT_GT(tokens_told(ran.err), 0U);
    EXPECT_LT(tokens_told(ran.err), 102'400U);  // it did not reach the end
    EXPECT_EQ(recorded.taken, tokens_told(ran.err));
    EXPECT_EQ(last_of(recorded).passes, tokens_told(ran.err));
    EXPECT_EQ(marks_of(recorded).back(), "-");
    EXPECT_EQ(files(), 1U);
  }
}

// Regression: the recording was lost, and the published layout was left behind.
TEST_F(DecodeRecord, IsWrittenWhenTheTerminalIsClosed) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  if (const auto why = no_shared_memory()) GTEST_SKIP() << *why;
  const std::string name = "closed-" + std::to_string(::getpid());
  Terminal terminal;
  Program decode(joined(long_decode(), {"--publish=" + name}), {.terminal = terminal.side.get()});
  terminal.side.close();
  EXPECT_NE(terminal.control.read_some(), "");
  EXPECT_EQ(run({"top", name, "--once"}).exit_code, 0);
  terminal.control.close();
  EXPECT_EQ(decode.wait().exit_code, 130);
  EXPECT_GT(last_of(read_recording(file_)).passes, 0U);
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(run({"top", name, "--list"}).out.find(name), std::string::npos);
}

TEST_F(DecodeRecord, IsWrittenWhenNobodyReadsAnyMore) {
  Piped decode(long_decode());
  EXPECT_NE(decode.pipe.read.read_some(), "");
  decode.pipe.read.close();
  const Ran ran = decode.program.wait();
  EXPECT_EQ(ran.exit_code, 141);
  EXPECT_EQ(ran.err, "");
  const Recording recorded = read_recording(file_);
  ASSERT_FALSE(marks_of(recorded).empty());
  EXPECT_GT(last_of(recorded).passes, 0U);
  EXPECT_EQ(marks_of(recorded).back(), "-");
}

}  // namespace
}  // namespace tapedeck::tests
