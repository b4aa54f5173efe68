// SPDX-License-Identifier: Apache-2.0
#include "base/amounts.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kAll = UINT64_MAX;

static_assert(internal::saturated_sum(2, 3) == 5 && internal::saturated_sum(kAll, 1) == kAll);
static_assert(internal::saturated_product(2, 3) == 6);
static_assert(internal::saturated_product(kAll / 2, 3) == kAll);
static_assert(internal::scaled(1, 3, 100) == 33 && internal::scaled(0, 3, 100) == 0);
static_assert(internal::scaled(4, 3, 100) == 100 && internal::scaled(0, 0, 100) == 100);

TEST(PercentText, IsRoundedDown) {
  EXPECT_EQ(internal::percent_text(0, 7), "0 %");
  EXPECT_EQ(internal::percent_text(2, 3), "66 %");
  EXPECT_EQ(internal::percent_text(7, 7), "100 %");
  EXPECT_EQ(internal::percent_text(4, 3), "133 %");
  EXPECT_EQ(internal::percent_text(kAll, 1), "1000000 %");
  EXPECT_EQ(internal::percent_text(0, 0), "0 %");
}

TEST(TimeText, HasAUnitThatFits) {
  EXPECT_EQ(internal::time_text(0), "0 \u00B5s");
  EXPECT_EQ(internal::time_text(999), "999 \u00B5s");
  EXPECT_EQ(internal::time_text(1500), "1.5 ms");
  EXPECT_EQ(internal::time_text(1'500'000), "1.5 s");
  EXPECT_EQ(internal::time_text(125'000'000), "2 min 05 s");
  EXPECT_EQ(internal::time_text(7'500'000'000), "2 h 05 min");
}

}  // namespace
}  // namespace tapedeck::tests
