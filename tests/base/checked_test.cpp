#include "tapedeck/base/checked.hpp"
#include "base/most.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kTop = std::uint64_t{1} << 63;

// All of it can be asked at compile time.
static_assert(checked_add<std::uint64_t>(1, std::uint64_t{2}) == 3);
static_assert(!checked_mul<std::uint64_t>(kMost, 2));
static_assert(round_up(1, 64) == 64 && round_down(127, 64) == 64);

TEST(CheckedAdd, GivesTheSum) {
  EXPECT_EQ(checked_add<std::uint64_t>(7), 7U);
  EXPECT_EQ(checked_add<std::uint64_t>(0, std::uint64_t{0}), 0U);
  EXPECT_EQ(checked_add<std::uint64_t>(1, std::uint64_t{2}, std::uint64_t{3}), 6U);
  EXPECT_EQ(checked_add<std::uint64_t>(kMost - 1, std::uint64_t{1}), kMost);
  EXPECT_EQ(checked_add<std::uint64_t>(kTop, kTop - 1), kMost);
}

TEST(CheckedAdd, GivesNothingBeyondTheLargestNumber) {
  EXPECT_EQ(checked_add<std::uint64_t>(kMost, std::uint64_t{1}), std::nullopt);
  EXPECT_EQ(checked_add<std::uint64_t>(kTop, kTop), std::nullopt);
  EXPECT_EQ(checked_add<std::uint64_t>(kMost, kMost), std::nullopt);
}

// The wrapped sum of the first two fits again with the third.
TEST(CheckedAdd, RemembersAnOverflowInTheMiddle) {
  EXPECT_EQ(checked_add<std::uint64_t>(kMost, std::uint64_t{2}, std::uint64_t{5}), std::nullopt);
  EXPECT_EQ(checked_add<std::uint64_t>(1, kMost, std::uint64_t{1}), std::nullopt);
}

TEST(CheckedAdd, KnowsTheLimitsOfItsType) {
  EXPECT_EQ(checked_add<std::uint8_t>(250, std::uint8_t{5}), 255);
  EXPECT_EQ(checked_add<std::uint8_t>(250, std::uint8_t{6}), std::nullopt);
  EXPECT_EQ(checked_add<std::uint32_t>(1U << 31, 1U << 31), std::nullopt);
}

TEST(CheckedMul, GivesTheProduct) {
  EXPECT_EQ(checked_mul<std::uint64_t>(7), 7U);
  EXPECT_EQ(checked_mul<std::uint64_t>(151'936, 1536, sizeof(float)), 933'494'784U);
  EXPECT_EQ(checked_mul<std::uint64_t>(kMost, 1), kMost);
  EXPECT_EQ(checked_mul<std::uint64_t>(std::uint64_t{1} << 32, (std::uint64_t{1} << 32) - 1),
            kMost - ((std::uint64_t{1} << 32) - 1));
}

TEST(CheckedMul, GivesNothingBeyondTheLargestNumber) {
  EXPECT_EQ(checked_mul<std::uint64_t>(std::uint64_t{1} << 32, std::uint64_t{1} << 32),
            std::nullopt);
  EXPECT_EQ(checked_mul<std::uint64_t>(kTop, 2), std::nullopt);
  EXPECT_EQ(checked_mul<std::uint64_t>(kMost, kMost), std::nullopt);
  EXPECT_EQ(checked_mul<std::uint8_t>(16, 16), std::nullopt);
}

// An overflow that a later 0 would hide is still an overflow: the caller's sizes make no sense.
TEST(CheckedMul, RemembersAnOverflowInTheMiddle) {
  EXPECT_EQ(checked_mul<std::uint64_t>(kTop, 2, 0), std::nullopt);
  EXPECT_EQ(checked_mul<std::uint64_t>(0, kMost, kMost), 0U);
}

TEST(Round, GoesToTheNextMultiple) {
  EXPECT_EQ(round_up(0, 4096), 0U);
  EXPECT_EQ(round_up(1, 4096), 4096U);
  EXPECT_EQ(round_up(4095, 4096), 4096U);
  EXPECT_EQ(round_up(4096, 4096), 4096U);
  EXPECT_EQ(round_up(4097, 4096), 8192U);
  EXPECT_EQ(round_up(kMost, 1), kMost);
  EXPECT_EQ(round_down(0, 4096), 0U);
  EXPECT_EQ(round_down(4095, 4096), 0U);
  EXPECT_EQ(round_down(4096, 4096), 4096U);
  EXPECT_EQ(round_down(kMost, 4096), kMost - 4095);
  EXPECT_EQ(round_down(kMost, 1), kMost);
}

TEST(Round, WrapsToZeroUnchecked) { EXPECT_EQ(round_up(kMost - 4094, 4096), 0U); }

TEST(CheckedRoundUp, GivesNothingWhereTheResultDoesNotFit) {
  EXPECT_EQ(checked_round_up(0, 4096), 0U);
  EXPECT_EQ(checked_round_up(1, 4096), 4096U);
  EXPECT_EQ(checked_round_up(kMost - 4095, 4096), kMost - 4095);  // the last multiple
  EXPECT_EQ(checked_round_up(kMost - 4094, 4096), std::nullopt);
  EXPECT_EQ(checked_round_up(kMost, 4096), std::nullopt);
  EXPECT_EQ(checked_round_up(kMost, 1), kMost);
  EXPECT_EQ(checked_round_up(kTop, kTop), kTop);
  EXPECT_EQ(checked_round_up(kTop + 1, kTop), std::nullopt);
}

}  // namespace
}  // namespace tapedeck::tests
