// Readers beside the writer. ThreadSanitizer's builds say whether it is a race.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <thread>
#include <vector>

#include "base/paths.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/program.hpp"
#include "memory/watched_tape.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::size_t kReaders = 3;
constexpr std::size_t kPasses = 2000;

using ::testing::IsEmpty;

TEST(TapeConcurrency, ReadersSeeNothingImpossible) {
  Tape tape = Tape::start(64_KiB);
  EXPECT_THAT(watch(tape, kReaders, kPasses), IsEmpty());
  EXPECT_GT(tape.stat().refused, 0U);
}

TEST(TapeConcurrency, NorWhileTheTapeGrows) {
  Tape tape = Tape::start(256_KiB, {.commit_step = 4_KiB});
  EXPECT_THAT(watch(tape, kReaders, kPasses), IsEmpty());
  EXPECT_GT(tape.stat().grows, kPasses / 64);
}

TEST(TapeConcurrency, NorWhileItSpills) {
  LedgerSpill source;
  Tape tape = Tape::start(16_KiB, {.spill = &source});
  EXPECT_THAT(watch(tape, kReaders, kPasses / 4), IsEmpty());
  EXPECT_GT(tape.stat().spills, 1000U);
}

TEST(TapeConcurrency, NorOfTheChildrenWhileEachHasAWriter) {
  Tape tape = Tape::start(256_KiB);
  std::vector<std::jthread> workers;
  for (Tape& child : tape.split(3)) {
    workers.emplace_back([&child] { EXPECT_THAT(watch(child, 1, kPasses / 4), IsEmpty()); });
  }
}

// The writer's role goes from thread to thread, with a join between them.
TEST(TapeConcurrency, TheWritersRoleCanBeHandedOver) {
  Tape tape = Tape::start(64_KiB, {.commit_step = 4_KiB});
  for (std::size_t i = 0; i < 8; ++i) {
    std::jthread([&] { EXPECT_THAT(watch(tape, 1, 100), IsEmpty()); }).join();
  }
  EXPECT_GT(tape.clears(), 0U);
}

// The mutant is the same tape with plain integers for atomics, watched in the same way.
TEST(TapeConcurrency, ThreadSanitizerSeesARaceWherePlainStoresAre) {
#if defined(TAPEDECK_RACING_TAPE)
  const Ran ran = run_program(built_path("tapedeck_racing_tape"));
  EXPECT_EQ(ran.exit_code, 66) << ran.output;
  EXPECT_THAT(ran.output, ::testing::HasSubstr("WARNING: ThreadSanitizer: data race"));
#else
  GTEST_SKIP() << "built without ThreadSanitizer";
#endif
}

}  // namespace
}  // namespace tapedeck::tests
