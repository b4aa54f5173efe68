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

TEST(CountOf, HasTheNounInItsForm) {
  EXPECT_EQ(internal::count_of(1, "layer"), "1 layer");
  EXPECT_EQ(internal::count_of(0, "layer"), "0 layers");
  EXPECT_EQ(internal::count_of(2, "KV head"), "2 KV heads");
  EXPECT_EQ(internal::count_of(1, "entry"), "1 entry");
  EXPECT_EQ(internal::count_of(2, "entry"), "2 entries");
  EXPECT_EQ(internal::count_of(2, "key"), "2 keys");
  EXPECT_EQ(internal::count_of(1, "pass"), "1 pass");
  EXPECT_EQ(internal::count_of(kAll, "pass"), "18446744073709551615 passes");
  EXPECT_EQ(internal::count_of(3, "box"), "3 boxes");
  EXPECT_EQ(internal::count_of(3, "batch"), "3 batches");
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
