// SPDX-License-Identifier: Apache-2.0
#include "cli/top_rates.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>

namespace tapedeck::tests {
namespace {

using cli::Rates;
using cli::RateSample;
using cli::RateWindow;

/// The counters of a layout so many milliseconds after some moment.
RateSample sample_at(unsigned milliseconds, const Stat& stat,
                     const internal::os::FaultCount& faults = {}) {
  return {RateSample::Time(std::chrono::milliseconds(milliseconds)), stat, faults};
}

/// A layout whose talks are on the host and on one device.
Stat stat_of(std::uint64_t tokens, std::uint64_t cleared, std::uint64_t passes = 0) {
  Stat stat = {.tokens = tokens, .passes = passes, .cleared_tokens = cleared, .gpus = 1};
  stat.gpu[0].tokens = 2 * tokens;
  stat.gpu[0].cleared_tokens = 2 * cleared;
  return stat;
}

TEST(TopRates, AreUnknownUntilThereAreTwoSamples) {
  RateWindow window;
  EXPECT_EQ(window.rates(), std::nullopt);
  window.add(sample_at(0, stat_of(10, 0)));
  EXPECT_EQ(window.rates(), std::nullopt);
  window.add(sample_at(500, stat_of(20, 0)));
  EXPECT_NE(window.rates(), std::nullopt);
  window.clear();
  EXPECT_EQ(window.rates(), std::nullopt);
}

TEST(TopRates, AreWhatWasCountedInASecond) {
  RateWindow window;
  window.add(sample_at(1000, stat_of(10, 100, 7), {.minor = 1, .major = 2}));
  window.add(sample_at(1500, stat_of(30, 100, 9), {.minor = 11, .major = 2}));
  const Rates rates = window.rates().value();
  EXPECT_EQ(rates.tokens[0], 40);
  EXPECT_EQ(rates.tokens[1], 80);
  EXPECT_EQ(rates.tokens[2], 0);
  EXPECT_EQ(rates.passes, 4);
  EXPECT_EQ(rates.minor_faults, 20);
  EXPECT_EQ(rates.major_faults, 0);
}

// One talk was cleared between the samples, with 5 tokens more than in the first of them.
TEST(TopRates, CountTokensOfTalksThatWereCleared) {
  RateWindow window;
  window.add(sample_at(0, stat_of(1000, 0)));
  window.add(sample_at(2000, stat_of(3, 1005)));
  EXPECT_EQ(window.rates().value().tokens[0], 4);
}

TEST(TopRates, AreNeverNegative) {
  RateWindow window;
  window.add(sample_at(0, stat_of(100, 0, 5)));
  window.add(sample_at(1000, stat_of(40, 0, 6)));  // a draft was taken back
  EXPECT_EQ(window.rates().value().tokens[0], 0);
  window.add(sample_at(2000, stat_of(3, 0, 1)));  // it started again
  EXPECT_EQ(window.rates(), std::nullopt);
  window.add(sample_at(3000, stat_of(5, 0, 2)));
  EXPECT_EQ(window.rates().value().tokens[0], 2);
}

TEST(TopRates, AreOfTheLastSeconds) {
  RateWindow window;
  for (unsigned second = 0; second <= 10; ++second) {
    window.add(sample_at(1000 * second, stat_of(second < 5 ? 0 : 100 * (second - 5), 0)));
  }
  EXPECT_EQ(window.rates().value().tokens[0], 100);
}

}  // namespace
}  // namespace tapedeck::tests
