// SPDX-License-Identifier: Apache-2.0
#include "llama/sampler.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using llama::Sampler;
using llama::TokenId;

std::vector<TokenId> draws(float temperature, std::uint64_t seed, std::size_t n) {
  Sampler sampler(temperature, seed);
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < n; ++i) {
    std::array<float, 4> logits = {0, std::log(2.0F), std::log(5.0F), -1000};
    tokens.push_back(sampler.choose(logits));
  }
  return tokens;
}

TEST(Sampler, TemperatureZeroTakesTheFirstOfTheBest) {
  Sampler sampler(0);
  std::array<float, 5> logits = {1, 3, -2, 3, 0};
  EXPECT_EQ(sampler.choose(logits), 1U);
  EXPECT_EQ(logits[4], 0);  // and the logits are unchanged
}

TEST(Sampler, DrawsByTheProbabilities) {
  constexpr std::size_t kDraws = 80'000;
  std::array<std::size_t, 4> hits{};
  for (const TokenId token : draws(1, 3, kDraws)) ++hits[token];
  // 1 : 2 : 5, with a tolerance of five standard deviations.
  EXPECT_NEAR(static_cast<double>(hits[0]), kDraws / 8.0, 5 * std::sqrt(kDraws * 0.125 * 0.875));
  EXPECT_NEAR(static_cast<double>(hits[1]), kDraws / 4.0, 5 * std::sqrt(kDraws * 0.25 * 0.75));
  EXPECT_EQ(hits[3], 0U);
}

TEST(Sampler, BrokenLogitsGiveSomeToken) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float temperature : {0.0F, 1.0F}) {
    Sampler sampler(temperature, 1);
    for (const std::array<float, 3>& broken :
         {std::array{kNan, kNan, kNan}, {kInf, kInf, 0}, {-kInf, -kInf, -kInf}, {0, kNan, 1}}) {
      std::array<float, 3> logits = broken;
      EXPECT_LT(sampler.choose(logits), 3U);
    }
  }
}

TEST(Sampler, ATemperatureMustMakeSense) {
  for (const float wrong :
       {-1.0F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_THROW(Sampler{wrong}, InvalidArgument);
  }
}

}  // namespace
}  // namespace tapedeck::tests
