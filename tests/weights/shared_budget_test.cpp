// SPDX-License-Identifier: Apache-2.0
// Shared memory inside a memory cgroup: pages that exist cost nothing, and others must fit.
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#include "memory/pattern.hpp"
#include "os/memory_cgroup.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/weights/weights.hpp"
#include "tapedeck/weights/weights_builder.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kBudget = 64_MiB;

/// A test with a group of 64 MiB.
class SharedInGroup : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!group_.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
  }
  [[nodiscard]] static WeightsBuilder build(std::uint64_t bytes) {
    return WeightsBuilder({{.name = "a", .dtype = DType::u8, .shape = {bytes}}});
  }

  MemoryCgroup group_{kBudget};
};

TEST_F(SharedInGroup, WhatItsMakerFilledNeedsNoBudget) {
  WeightsBuilder builder = build(3 * kBudget);
  Pattern(1).write(builder.bytes(0).data(), 3 * kBudget);
  const Weights owner = std::move(builder).seal();
  group_.in_group([&] {
    Weights weights = Weights::adopt(owner.descriptor());
    EXPECT_EQ(weights.warm({.threads = 2}).end, WarmEnd::complete);
    EXPECT_TRUE(Pattern(1).is_at(weights[0].bytes.data(), 1_MiB));
  });
}

// Memory that was never written has no pages. Reading creates them, charged to the reader.
TEST_F(SharedInGroup, WhatItsMakerLeftOutIsRefusedInsteadOfKilled) {
  const Weights owner = build(3 * kBudget).seal();
  group_.in_group([&] {
    Weights weights = Weights::adopt(owner.descriptor());
    const WarmResult result = weights.warm({.threads = 2});
    EXPECT_EQ(result.end, WarmEnd::over_budget);
    EXPECT_EQ(result.warmed, 0U);
    EXPECT_EQ(result.limit, group_.limit());
  });
}

}  // namespace
}  // namespace tapedeck::tests
