// SPDX-License-Identifier: Apache-2.0
// Memory that several parts of a program make resident within one limit.
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <vector>

#include "base/thrown.hpp"
#include "limits/resident_memory.hpp"
#include "os/memory_cgroup.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::tests {
namespace {

TEST(ResidentPages, OfABlockAreClaimedOnceHoweverTheyAreReached) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  group.in_group([] {
    Tape tape = Tape::start(kLimit / 8 * 5);
    Tape& child = tape.split(1).front();
    EXPECT_TRUE(child.warm({.threads = 2}));
    EXPECT_TRUE(Block::borrow({child.data(), child.total()}).lock());
  });
}

// The job must not wait for itself: its reads are under way while its callback runs.
TEST(ResidentPages, MayBeCommittedByTheProgressOfAWarm) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  const std::filesystem::path& model = model_of(kLimit / 4 * 2);
  group.in_group([&] {
    std::vector<Block> blocks;
    std::size_t refused = 0;
    const auto commit = [&](const WarmProgress&) {
      try {
        while (refused == 0) {
          blocks.push_back(Block::reserve(1_MiB));
          blocks.back().commit(1_MiB);
        }
      } catch (const OutOfMemory&) {
        ++refused;
      }
    };
    Weights weights = Weights::open(model, {.way = Way::direct});
    EXPECT_TRUE(weights.warm({.threads = 2, .progress = commit}));
    EXPECT_EQ(refused, 1U);
  });
}

// What the host has no room for, it may have if cleared talks give their pages back.
TEST(TalksInAGroup, UseThePagesOfClearedTalks) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  const MemoryCgroup group(kLimit);
  if (!group.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  group.in_group([&] {
    Layout layout(talks_plan(kLimit / 8 * 20), {.commit = Commit::nothing});  // 4 talks of 80 MiB
    const Region& keys = layout.plan().history.regions()[0];
    const auto use = [&](std::size_t talk) {
      layout.talk(talk).prepare(layout.talk(talk).capacity());
      fill(layout.history_at<std::byte>(keys, talk));
    };
    use(0);
    EXPECT_EQ(thrown<OutOfMemory>([&] { use(1); }).limit(), group.limit());
    EXPECT_EQ(layout.talk(1).room(), 0U);
    layout.clear_talk(0);
    use(1);
    EXPECT_EQ(layout.talk(1).room(), layout.talk(1).capacity());
    EXPECT_EQ(layout.stat().budget_refusals, 0U);
  });
}

}  // namespace
}  // namespace tapedeck::tests
