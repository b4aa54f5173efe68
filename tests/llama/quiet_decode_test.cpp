// SPDX-License-Identifier: Apache-2.0
// A decode step costs nothing: no heap allocation, no system call except the pool's futex, no page
// fault. Nor does the telemetry of a step. The program quiet_decode decodes, and this test observes
// it. Each kind of noise is caused deliberately once, to check that the test would notice it.
#include "llama/quiet_decode.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include "base/paths.hpp"
#include "llama/support.hpp"
#include "os/self.hpp"
#include "os/shared_folder.hpp"
#include "tapedeck/telemetry/live/stat_reader.hpp"

namespace tapedeck::tests {
namespace {

// As deep as real models, but narrow, so that it is fast. Its classifier is worth two threads; the
// rest takes long enough for the second thread to fall asleep.
constexpr llama::Shape kDeepAndNarrow = {
    .dim = 64, .ffn = 96, .layers = 28, .heads = 4, .kv_heads = 2, .vocab = 1024, .seq_len = 128};

constexpr std::uint64_t kTokens = 10'000;
constexpr std::uint64_t kGuardedTokens = 1'000;
constexpr std::uint64_t kFewTokens = 100;  // enough to notice noise of each token

struct Observed : DecodeFigures {
  int signal = 0;
  int exit_code = 0;
  std::uint64_t faults = 0;
};

// The minor and major faults of a process, from /proc/PID/stat.
std::uint64_t faults_of(pid_t id) {
  const std::string line = text_of("/proc/" + std::to_string(id) + "/stat");
  std::istringstream fields(line.substr(line.rfind(')') + 1));  // the name may contain anything
  std::string skipped;
  std::uint64_t minor = 0;
  std::uint64_t major = 0;
  for (int field = 3; field < 10; ++field) fields >> skipped;
  fields >> minor >> skipped >> major;
  EXPECT_TRUE(fields) << line;
  return minor + major;
}

class QuietDecodeTest : public ::testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    if (const auto why = no_shared_memory()) GTEST_SKIP() << *why;
    if (kSanitized) GTEST_SKIP() << "a sanitizer makes system calls and allocations of its own";
    descriptor_ = ::memfd_create("blackboard", 0);
    ASSERT_GE(descriptor_, 0);
    ASSERT_EQ(::ftruncate(descriptor_, sizeof(Blackboard)), 0);
    void* shared =
        ::mmap(nullptr, sizeof(Blackboard), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
    ASSERT_NE(shared, MAP_FAILED);
    board_ = static_cast<Blackboard*>(shared);
  }
  void TearDown() override {
    if (board_ != nullptr) ::munmap(board_, sizeof(Blackboard));
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  Observed observe(const std::string& mode, std::uint64_t tokens) {
    board_->stage = Stage::preparing;
    const std::string threads = std::to_string(GetParam());
    const std::string descriptor = std::to_string(descriptor_);
    const std::string program = built_path("tapedeck_quiet_decode");
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl(program.c_str(), program.c_str(), mode.c_str(), std::to_string(tokens).c_str(),
              threads.c_str(), model_.c_str(), descriptor.c_str(), published_.path().c_str(),
              nullptr);
      ::_exit(1);
    }
    EXPECT_GT(child, 0);
    const Observed observed = watch(child);
    expect_published(observed);
    return observed;
  }

  SharedFolder published_;

 private:
  Observed watch(pid_t child) {
    Observed observed;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(5);
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) ::kill(child, SIGKILL);
      const Stage stage = board_->stage.load();
      if (stage == Stage::ready) {
        observed.faults = faults_of(child);
        board_->stage = Stage::decoding;
      } else if (stage == Stage::done) {
        observed.faults = faults_of(child) - observed.faults;
        static_cast<DecodeFigures&>(observed) = static_cast<const DecodeFigures&>(*board_);
        board_->stage = Stage::end;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    observed.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    observed.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    return observed;
  }

  // A process that makes no system call leaves its file behind; the next publisher removes it.
  void expect_published(const Observed& observed) const {
    for (const PublishedLayout& published : published_layouts(published_.path())) {
      const StatReader reader(published.path);
      EXPECT_EQ(reader.state(), PublisherState::dead);
      const auto last = reader.read();
      ASSERT_TRUE(last);
      EXPECT_GE(last->publishes, observed.tokens);
      EXPECT_GE(last->stat.passes, observed.tokens);
    }
  }

  const std::string model_ = made_once("deep", kDeepAndNarrow).string();
  int descriptor_ = -1;
  Blackboard* board_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Threads, QuietDecodeTest, ::testing::Values(1U, 2U));

#define SKIP_WITHOUT_SECCOMP(observed) \
  if ((observed).exit_code == kNoSeccomp) GTEST_SKIP() << "this host has no seccomp filters"

TEST_P(QuietDecodeTest, TenThousandTokensCostNothing) {
  Observed observed = observe("nothing", kTokens);
  // Faults count only if they occur again, because the kernel may move and merge pages at any time,
  // and the next access faults whatever the program does.
  for (int again = 0; again < 2 && observed.faults != 0; ++again) {
    observed = observe("nothing", kTokens);
  }
  SKIP_WITHOUT_SECCOMP(observed);
  EXPECT_EQ(observed.signal, 0) << "a system call was made: " << ::strsignal(observed.signal);
  EXPECT_EQ(observed.exit_code, 0);
  EXPECT_GE(observed.tokens, kTokens);
  EXPECT_GT(observed.talks, 50U);
  EXPECT_GT(observed.tokens, 60 * observed.talks);
  EXPECT_EQ(observed.allocations, 0U);
  EXPECT_EQ(observed.faults, 0U);
  EXPECT_EQ(observed.samples, observed.tokens);
  EXPECT_EQ(observed.phases, 2 * observed.tokens);
  EXPECT_EQ(published_layouts(published_.path()).size(), 1U);
}

// Creating telemetry, and reading out what it recorded, is not meant for a token.
TEST_P(QuietDecodeTest, EachKindOfNoiseIsHeard) {
  for (const char* mode : {"mapping", "publisher"}) {
    const Observed observed = observe(mode, kFewTokens);
    SKIP_WITHOUT_SECCOMP(observed);
    EXPECT_EQ(observed.signal, SIGSYS) << mode;
  }
  for (const char* mode : {"allocation", "phases"}) {
    const Observed observed = observe(mode, kFewTokens);
    EXPECT_EQ(observed.signal, 0) << mode;
    EXPECT_GE(observed.tokens, kFewTokens) << mode;
    EXPECT_EQ(observed.allocations, observed.tokens) << mode;
  }
  const Observed touching = observe("page_fault", kFewTokens);
  EXPECT_EQ(touching.signal, 0);
  EXPECT_EQ(touching.allocations, 0U);
  EXPECT_GT(touching.faults, 0U);
  // A recording is so large that its memory comes from the kernel immediately, or soon.
  const Observed recording = observe("recorder", kFewTokens);
  if (recording.signal == SIGSYS) return;
  EXPECT_GE(recording.tokens, kFewTokens);
  EXPECT_GE(recording.allocations, recording.tokens);
}

// The same check with the library's own means: a strict guard throws at the first pass that costs
// anything.
TEST_P(QuietDecodeTest, APassGuardReportsAnAllocationAndNothingElse) {
  Observed observed = observe("guard", kGuardedTokens);
  for (int again = 0; again < 2 && observed.exit_code == kViolation; ++again) {
    observed = observe("guard", kGuardedTokens);
  }
  EXPECT_EQ(observed.signal, 0);
  EXPECT_EQ(observed.exit_code, 0);
  EXPECT_EQ(observe("guard_allocation", kFewTokens).exit_code, kViolation);
}

}  // namespace
}  // namespace tapedeck::tests
