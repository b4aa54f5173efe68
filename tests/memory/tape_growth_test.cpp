// SPDX-License-Identifier: Apache-2.0
// Committing memory in a take and ahead of it, returning it to the system, and making it resident.

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <stop_token>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace {

TEST(TapeGrowth, CommitsAStepAtATime) {
  Tape tape = Tape::start(1_MiB, {.commit_step = 64_KiB});
  EXPECT_EQ(tape.committed(), 64_KiB);
  (void)tape.take(64_KiB);
  EXPECT_EQ(tape.stat().grows, 0U);
  (void)tape.take(1);
  EXPECT_EQ(tape.stat().grows, 1U);
  EXPECT_EQ(tape.committed(), 128_KiB);
  (void)tape.take(1, 1);  // a packed take on the next line
  EXPECT_EQ(tape.committed(), 128_KiB);
  std::memset(tape.take(400_KiB), 1, 400_KiB);  // larger than a step
  EXPECT_EQ(tape.stat().grows, 2U);
  EXPECT_EQ(tape.committed(), round_up(tape.used(), kPage));
  EXPECT_EQ(tape.stat().committed, tape.committed());
}

TEST(TapeGrowth, SmallTakesAndWideAlignmentsGrowToo) {
  Tape tape = Tape::start(1_MiB, {.commit_step = 4_KiB});
  for (int i = 0; i < 1000; ++i) std::memset(tape.take(24, 8), 1, 24);
  EXPECT_GT(tape.stat().grows, 0U);
  std::memset(tape.take(100, 256_KiB), 1, 100);
  EXPECT_GE(tape.committed(), tape.used());
  std::memset(tape.take(tape.free(), 8), 1, 1000);
  EXPECT_EQ(tape.committed(), tape.total());
}

TEST(TapeGrowth, TheLastStepEndsWithTheTape) {
  Tape tape = Tape::start(100_KiB, {.commit_step = 64_KiB});
  (void)tape.take(64_KiB + 1);
  EXPECT_EQ(tape.committed(), 100_KiB);
  EXPECT_EQ(Tape::start(100_KiB, {.commit_step = 1_GiB}).committed(), 100_KiB);
  EXPECT_EQ(Tape::start(100_KiB, {.commit_step = 1}).committed(), kPage);
  EXPECT_EQ(Tape::start(100_KiB).committed(), 100_KiB);
}

TEST(TapeGrowth, ATapeWithoutAStepNeverGrows) {
  Tape tape = Tape::start(1_MiB);
  while (tape.try_take(1000) != nullptr) {
  }
  EXPECT_EQ(tape.stat().grows, 0U);
}

TEST(TapeGrowth, WhereAStepIsRefusedTheTakeAloneMayNotBe) {
  std::size_t most = kMost;
  std::size_t committed = 0;
  const BlockOptions options = {.on_commit = [&](std::span<std::byte> range) {
    if (range.size() > most) throw std::runtime_error("not now");
    committed = range.size();
  }};
  Tape tape = Tape::start(1_MiB, {.commit_step = 64_KiB, .block = options});
  (void)tape.take(64_KiB);
  most = kPage;
  std::memset(tape.take(100), 1, 100);
  EXPECT_EQ(tape.committed(), 64_KiB + kPage);
  EXPECT_EQ(committed, kPage);
}

// --- back to the system ---------------------------------------------------------------------

TEST(TapeDecommit, ATapeWithoutAStepComesBackByTwoMebibytes) {
  Tape tape = Tape::start(16_MiB);
  (void)tape.take(16_MiB);
  tape.clear();
  EXPECT_EQ(tape.decommit(), 16_MiB);
  EXPECT_EQ(tape.committed(), 0U);
  std::memset(tape.take(100), 1, 100);
  EXPECT_EQ(tape.committed(), 2_MiB);
  std::memset(tape.take(5_MiB), 1, 5_MiB);
  EXPECT_GE(tape.committed(), 5_MiB);
  EXPECT_EQ(tape.stat().grows, 2U);
  std::memset(tape.take(tape.free()), 1, 1);
  EXPECT_EQ(tape.committed(), 16_MiB);
}

TEST(TapeDecommit, SmallTakesGoOnInTheLineBelow) {
  Tape tape = Tape::start(1_MiB);
  auto* first = static_cast<std::byte*>(tape.take(8, 8));
  (void)tape.take(kPage - 64);
  tape.decommit();
  EXPECT_EQ(tape.committed(), kPage);
  EXPECT_EQ(tape.take(8, 8), first + 8);
  std::memset(tape.take(100, 8), 1, 100);
  EXPECT_GT(tape.committed(), kPage);
}

// --- resident -------------------------------------------------------------------------------

TEST(TapeWarm, MakesTheCommittedPartResidentAndChangesNoByte) {
  Tape tape = Tape::start(4_MiB, {.commit_step = 1_MiB});
  auto* taken = static_cast<std::byte*>(tape.take(500'000));
  Pattern(1).write(taken, 500'000);
  const WarmResult result = tape.warm();
  EXPECT_TRUE(result);
  EXPECT_EQ(result.asked, 1_MiB);
  EXPECT_EQ(result.warmed, 1_MiB);
  EXPECT_TRUE(Pattern(1).is_at(taken, 500'000));
  EXPECT_EQ(tape.committed(), 1_MiB);
  const Residency residency = tape.residency();
  if (!residency.present) GTEST_SKIP() << "the kernel does not report which pages are present";
  EXPECT_EQ(*residency.present, 1_MiB);
  EXPECT_EQ(result.present, 1_MiB);
}

TEST(TapeWarm, StartWarmIsResidentFromTheStart) {
  const Tape tape = Tape::start_warm(3_MiB, {.name = "weights"});
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.name(), "weights");
  EXPECT_EQ(tape.committed(), 3_MiB);
  const Residency residency = tape.residency();
  if (!residency.present) GTEST_SKIP() << "the kernel does not report which pages are present";
  EXPECT_EQ(*residency.present, 3_MiB);
}

TEST(TapeWarm, StartWarmHasNoCommitStep) {
  const auto error =
      thrown<InvalidArgument>([] { return Tape::start_warm(1_MiB, {.commit_step = 4_KiB}); });
  EXPECT_EQ(error.argument(), "TapeOptions::commit_step");
  EXPECT_EQ(error.value(), 4_KiB);
  EXPECT_EQ(error.limit(), 0U);
}

TEST(TapeWarm, StartWarmCanBeStopped) {
  const NothingLeft check;
  std::stop_source source;
  source.request_stop();
  const auto error = thrown<SystemError>(
      [&] { return Tape::start_warm(1_MiB, {.name = "weights"}, {.stop = source.get_token()}); });
  EXPECT_EQ(error.number(), ECANCELED);
  EXPECT_EQ(error.call(), "warming tape weights");
}

TEST(TapeWarm, StartWarmRefusesWhatTheHostHasNoRoomFor) {
  const std::size_t too_much = 2 * number_of("/proc/meminfo", "MemTotal:") * 1_KiB;
  const NothingLeft check;
  EXPECT_THROW((void)Tape::start_warm(too_much, {.name = "weights"}), Error);
}

}  // namespace
}  // namespace tapedeck::tests
