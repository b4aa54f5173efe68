// Shared memory inside a memory cgroup: what is there costs nothing, what is not must fit.
#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <utility>

#include "memory/pattern.hpp"
#include "os/child.hpp"
#include "os/memory_cgroup.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/weights/weights.hpp"
#include "tapedeck/weights/weights_builder.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kBudget = 64_MiB;

/// A group of 64 MiB. To be killed in there is a failure.
class SharedInGroup : public ::testing::Test {
 protected:
  [[nodiscard]] static WeightsBuilder build(std::uint64_t bytes) {
    return WeightsBuilder({{.name = "a", .dtype = DType::u8, .shape = {bytes}}});
  }

  MemoryCgroup group_{kBudget};
};

TEST_F(SharedInGroup, WhatItsMakerFilledNeedsNoBudget) {
  if (!group_.ready()) GTEST_SKIP() << "no memory cgroup can be made here";
  WeightsBuilder builder = build(3 * kBudget);
  Pattern(1).write(builder.bytes(0).data(), 3 * kBudget);
  const Weights owner = std::move(builder).seal();
  in_child([&] {
    ASSERT_TRUE(group_.enter());
    Weights weights = Weights::adopt(owner.descriptor());
    EXPECT_EQ(weights.warm({.threads = 2}).end, WarmEnd::complete);
    EXPECT_TRUE(Pattern(1).is_at(weights[0].bytes.data(), 1_MiB));
  });
}

// What nobody wrote has no page yet: reading makes one, at the cost of whoever reads.
TEST_F(SharedInGroup, WhatItsMakerLeftOutIsRefusedInsteadOfKilled) {
  if (!group_.ready()) GTEST_SKIP() << "no memory cgroup can be made here";
  const Weights owner = build(3 * kBudget).seal();
  in_child([&] {
    ASSERT_TRUE(group_.enter());
    Weights weights = Weights::adopt(owner.descriptor());
    const WarmResult result = weights.warm({.threads = 2});
    EXPECT_EQ(result.end, WarmEnd::over_budget);
    EXPECT_EQ(result.warmed, 0U);
    EXPECT_THAT(result.limit, HasSubstr(group_.path()));
  });
}

}  // namespace
}  // namespace tapedeck::tests
