// SPDX-License-Identifier: Apache-2.0
// Readers that run while the writer writes. Builds with ThreadSanitizer show whether they race.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "base/paths.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/program.hpp"
#include "memory/watched_tape.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::size_t kReaders = 3;
constexpr std::size_t kPasses = 2000;

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(TapeConcurrency, ReadersSeeNothingImpossibleAlsoWhileItGrowsOrSpills) {
  LedgerSpill source;
  Tape plain = Tape::start(64_KiB);
  Tape growing = Tape::start(256_KiB, {.commit_step = 4_KiB});
  Tape spilling = Tape::start(16_KiB, {.spill = &source});
  EXPECT_THAT(watch(plain, kReaders, kPasses), IsEmpty());
  EXPECT_THAT(watch(growing, kReaders, kPasses), IsEmpty());
  EXPECT_THAT(watch(spilling, kReaders, kPasses / 4), IsEmpty());
  EXPECT_GT(plain.stat().refused, 0U);
  EXPECT_GT(growing.stat().grows, kPasses / 64);
  EXPECT_GT(spilling.stat().spills, 1000U);
}

TEST(TapeConcurrency, NorOfTheChildrenWhileEachHasAWriter) {
  Tape tape = Tape::start(256_KiB);
  std::vector<std::jthread> workers;
  for (Tape& child : tape.split(3)) {
    workers.emplace_back([&child] { EXPECT_THAT(watch(child, 1, kPasses / 4), IsEmpty()); });
  }
}

// The writer's role moves from thread to thread, with a join in between.
TEST(TapeConcurrency, TheWritersRoleCanBeHandedOver) {
  Tape tape = Tape::start(64_KiB, {.commit_step = 4_KiB});
  for (std::size_t i = 0; i < 8; ++i) {
    tape.hand_over();
    std::jthread([&] { EXPECT_THAT(watch(tape, 1, 100), IsEmpty()); }).join();
  }
  EXPECT_GT(tape.clears(), 0U);
}

// The mutant is the same tape with plain integers for atomics, watched by the same code.
TEST(TapeConcurrency, ThreadSanitizerSeesARaceWherePlainStoresAre) {
#if defined(TAPEDECK_RACING_TAPE)
  const Ran ran = run_program(built_path("tapedeck_racing_tape"));
  EXPECT_EQ(ran.exit_code, 66) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("WARNING: ThreadSanitizer: data race"));
#else
  GTEST_SKIP() << "built without ThreadSanitizer";
#endif
}

#if defined(TAPEDECK_TWO_WRITERS)
[[nodiscard]] Ran second_thread(const std::string& does) {
  return run_program(built_path("tapedeck_two_writers").string() + " " + does);
}

class SecondWriter : public ::testing::TestWithParam<const char*> {};

// By ThreadSanitizer if the build has it, and otherwise by the owner check.
TEST_P(SecondWriter, IsReported) {
  const Ran ran = second_thread(GetParam());
#if defined(TAPEDECK_TSAN)
  EXPECT_EQ(ran.exit_code, 66) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("WARNING: ThreadSanitizer: data race"));
#else
  EXPECT_NE(ran.exit_code, 0);
  std::smatch threads;
  ASSERT_TRUE(std::regex_search(
      ran.output, threads,
      std::regex("thread ([0-9]+) writes to tape contested, but thread ([0-9]+) is its writer")))
      << ran.output;
  EXPECT_NE(threads[1], threads[2]);
#endif
}
INSTANTIATE_TEST_SUITE_P(TapeConcurrency, SecondWriter,
                         ::testing::Values("takes", "takes_nothing", "takes_packed", "takes_wide",
                                           "clears", "rewinds", "marks", "raises_the_floor",
                                           "restarts_the_peak", "prepares", "decommits"),
                         [](const auto& one) { return std::string(one.param); });

TEST(TapeConcurrency, ReadersAndAWriterThatWasHandedOverAreNoMistake) {
  for (const char* does : {"reads", "handed_over_by_join", "handed_over_by_split",
                           "handed_over_by_move", "takes_shared"}) {
    const Ran ran = second_thread(does);
    EXPECT_EQ(ran.exit_code, 0) << does << ": " << ran.output;
    EXPECT_EQ(ran.output, "") << does;
  }
}

TEST(TapeConcurrency, AClearOfASharedTapeBesideATakeIsReported) {
#if defined(TAPEDECK_TSAN)
  const Ran ran = second_thread("clears_shared");
  EXPECT_EQ(ran.exit_code, 66) << ran.output;
#else
  GTEST_SKIP() << "built without ThreadSanitizer";
#endif
}
#endif

}  // namespace
}  // namespace tapedeck::tests
