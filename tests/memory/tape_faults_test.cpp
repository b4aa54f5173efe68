// SPDX-License-Identifier: Apache-2.0
// Runs every path of a tape with each of its system calls failing in turn.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>

#include "memory/pattern.hpp"
#include "memory/tape_kinds.hpp"
#include "os/child.hpp"
#include "os/fault_sweep.hpp"
#include "os/rights.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace {

/// All options for a tape's memory, except that children of this process must be able to read it.
BlockOptions everything() {
  return {.lock = true, .core_dump = false, .guard_pages = true, .on_fork = OnFork::zero};
}

// The unmet wishes, from the block and from the figures, which must agree.
template <class AnyTape>
Complaints complaints_of(const AnyTape& tape) {
  Complaints all;
  const TapeStat stat = tape.stat();
  for (const Unmet& one : tape.block().unmet()) {
    EXPECT_EQ(stat.unmet[static_cast<std::size_t>(one.wish)], one.error) << one.text;
    all.push_back(one.text);
  }
  for (std::size_t i = 0; i < kWishes; ++i) {
    if (stat.unmet[i] != 0) all.push_back("stat: " + errno_name(stat.unmet[i]));
  }
  return all;
}

class TapeFaults : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Errno, TapeFaults,
                         ::testing::ValuesIn(sweep_errors({ENOMEM, EPERM, EINTR})),
                         [](const auto& number) { return errno_name(number.param); });

// Takes, clears and takes again: a tape that exists works, whatever was refused.
void expect_works(Tape& tape) {
  void* first = tape.try_take(kPage / 2);
  ASSERT_NE(first, nullptr);
  Pattern(1).write(first, kPage / 2);
  EXPECT_TRUE(Pattern(1).is_at(first, kPage / 2));
  tape.clear();
  EXPECT_EQ(tape.try_take(kPage / 2), first);
}

TEST_P(TapeFaults, Start) {
  const auto run = [] {
    Tape tape = Tape::start(8 * kPage, {.name = "t", .block = everything()});
    expect_works(tape);
    return complaints_of(tape);
  };
  EXPECT_GE(sweep({.run = run, .silent = silent_looks()}, GetParam()),
            6U);  // mmap, mprotect, three madvise, mlock
  const auto run_shared = [] {
    SharedTape tape = SharedTape::start(8 * kPage, {.name = "t", .block = everything()});
    EXPECT_NE(tape.try_take(kPage), nullptr);
    return complaints_of(tape);
  };
  EXPECT_GE(sweep({.run = run_shared, .silent = silent_looks()}, GetParam()), 6U);
}

// A budget that cannot be read limits nothing.
TEST_P(TapeFaults, StartWarm) {
  const auto run = [] {
    Tape tape = Tape::start_warm(8 * kPage, {.name = "t", .block = everything()},
                                 {.threads = 1, .chunk = 4 * kPage});
    expect_works(tape);
    return complaints_of(tape);
  };
  EXPECT_GT(sweep({.run = run, .silent = silent_looks()}, GetParam()), 7U);
}

TEST_P(TapeFaults, OverAFileOrSharedMemory) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a", std::string(kPage + 5, 'x'));
  const auto over_a_file = [&] {
    const Tape tape = Tape::over(Block::map_file(path, everything()), {.name = "t"});
    EXPECT_EQ(tape.used(), tape.total());
    return complaints_of(tape);
  };
  // Without these two, what is in the page cache is taken as unknown.
  const std::set<std::string> silent = silent_looks({"mincore", "fstatfs", "statx"});
  EXPECT_GE(sweep({.run = over_a_file, .silent = silent}, GetParam()), 7U);
  const auto over_shared_memory = [] {
    Tape tape = Tape::over(Block::create_shared(8 * kPage, everything()), {.name = "t"});
    expect_works(tape);
    return complaints_of(tape);
  };
  EXPECT_GE(sweep({.run = over_shared_memory, .silent = silent_looks()}, GetParam()), 9U);
}

// If a commit inside a take is refused, it is tried again with only what the take needs.
TEST_P(TapeFaults, GrowthInATake) {
  const auto run = [] {
    Tape tape =
        Tape::start(16 * kPage, {.name = "t", .commit_step = 4 * kPage, .block = everything()});
    void* first = tape.take(4 * kPage);
    Pattern(1).write(first, 4 * kPage);
    void* second = tape.take(2 * kPage);
    Pattern(2).write(second, 2 * kPage);
    EXPECT_TRUE(Pattern(1).is_at(first, 4 * kPage));
    EXPECT_EQ(tape.stat().grows, 1U);
    Complaints all = complaints_of(tape);
    all.push_back(to_iec(tape.committed()));
    return all;
  };
  EXPECT_GE(sweep({.run = run, .silent = silent_looks()}, GetParam()), 11U);
}

TEST_P(TapeFaults, Prepare) {
  const auto run = [] {
    Tape tape = Tape::start(16 * kPage, {.name = "t", .commit_step = kPage, .block = everything()});
    void* first = tape.take(kPage);
    Pattern(1).write(first, kPage);
    try {
      tape.prepare(8 * kPage);
    } catch (const SystemError&) {
      EXPECT_EQ(tape.committed(), kPage);
      EXPECT_TRUE(Pattern(1).is_at(first, kPage));
      EXPECT_TRUE(tape.try_prepare(8 * kPage));  // only one call fails
      throw;
    }
    EXPECT_NE(tape.try_take(8 * kPage), nullptr);
    EXPECT_EQ(tape.stat().grows, 1U);
    EXPECT_TRUE(Pattern(1).is_at(first, kPage));
    return complaints_of(tape);
  };
  EXPECT_GE(sweep({.run = run, .silent = silent_looks()}, GetParam()), 11U);
}

TEST_P(TapeFaults, Decommit) {
  const auto run = [] {
    Tape tape = Tape::start(16 * kPage, {.name = "t", .block = everything()});
    void* first = tape.take(3 * kPage);
    Pattern(1).write(first, 3 * kPage);
    const std::size_t given_back = tape.decommit();
    Complaints all = complaints_of(tape);
    if (given_back == 0) all.emplace_back("nothing was given back");
    EXPECT_TRUE(given_back == 0 || given_back == 13 * kPage);
    void* second = tape.take(13 * kPage);
    Pattern(2).write(second, 13 * kPage);
    EXPECT_TRUE(Pattern(1).is_at(first, 3 * kPage));
    for (const std::string& one : complaints_of(tape)) all.push_back(one);
    return all;
  };
  // The pages may be dropped by another method, and the take after that may be refused once and
  // then succeed.
  EXPECT_GE(sweep({.run = run, .silent = silent_looks({"mmap", "mprotect"})}, GetParam()), 11U);
}

TEST_P(TapeFaults, Split) {
  const auto run = [] {
    Tape tape = Tape::start(16 * kPage, {.name = "t", .commit_step = kPage, .block = everything()});
    std::span<Tape> children;
    try {
      children = tape.split(3);
    } catch (const SystemError&) {
      EXPECT_TRUE(tape.children().empty());
      EXPECT_EQ(tape.used(), 0U);
      EXPECT_EQ(tape.split(3).size(), 3U);  // only one call fails
      throw;
    }
    EXPECT_EQ(children.size(), 3U);
    for (Tape& child : children) expect_works(child);
    return complaints_of(tape);
  };
  EXPECT_GE(sweep({.run = run, .silent = silent_looks()}, GetParam()), 11U);
}

TEST_P(TapeFaults, WarmAndResidency) {
  Tape tape = Tape::start(8 * kPage, {.name = "t"});
  const auto run = [&] {
    const WarmResult result = tape.warm({.threads = 1});
    const Residency residency = tape.residency();
    Complaints all;
    if (!result) all.push_back("warm: " + errno_name(result.error));
    if (!result.present) all.emplace_back("present: unknown");
    if (!residency.present) all.emplace_back("residency: unknown");
    if (!residency.huge) all.emplace_back("huge: unknown");
    return all;
  };
  EXPECT_GE(sweep({.run = run, .silent = silent_looks()}, GetParam()), 6U);
}

TEST(TapeGrowth, ASplitThatCannotBeCommittedLeavesTheTapeWhole) {
  GrowingTape growing;
  growing.refuse = true;
  EXPECT_THROW(static_cast<void>(growing.tape.split(2)), std::runtime_error);
  EXPECT_TRUE(growing.tape.children().empty());
  EXPECT_EQ(growing.tape.used(), 0U);
  growing.refuse = false;
  EXPECT_EQ(growing.tape.split(2).size(), 2U);
}

TEST(TapeGrowth, AStartThatIsRefusedLeavesNothingBehind) {
  const bool refuse = true;
  const auto start = [&] {
    const auto options = refusing_while<BlockOptions>(refuse);
    EXPECT_THROW(static_cast<void>(Tape::start(8 * kPage, {.name = "t", .block = options})),
                 std::runtime_error);
    EXPECT_THROW(static_cast<void>(SharedTape::start(8 * kPage, {.name = "t", .block = options})),
                 std::runtime_error);
  };
  start();
  const NothingLeft check;
  start();
}

// With a limit that the kernel itself enforces, mprotect is refused every time.
TEST(TapeGrowth, BeyondALimitOfTheSystemIsRefused) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the memory that this test removes";
  in_child([] {
    Tape tape = Tape::start(64_MiB, {.name = "t", .commit_step = 64_KiB});
    void* first = tape.take(64_KiB);
    Pattern(1).write(first, 64_KiB);
    limit(RLIMIT_DATA, number_of("/proc/self/status", "VmData:") * 1024 + 16_MiB);
    EXPECT_EQ(tape.try_take(32_MiB), nullptr);
    EXPECT_THROW(tape.prepare(32_MiB), OutOfMemory);
    EXPECT_EQ(tape.committed(), 64_KiB);
    EXPECT_TRUE(Pattern(1).is_at(first, 64_KiB));
    EXPECT_NE(tape.try_take(64_KiB), nullptr);  // this much is left
  });
}

}  // namespace
}  // namespace tapedeck::tests
