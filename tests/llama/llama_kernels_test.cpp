// SPDX-License-Identifier: Apache-2.0
// Compares the building blocks of the GPU kernels, on the host, with the host's own kernels,
// including cases that no decoded model reaches.
#include "llama/llama_kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "llama/gguf_model.hpp"
#include "llama/kernels.hpp"

namespace tapedeck::tests {
namespace {

using llama::OnlineSoftmax;

std::vector<float> noise(std::size_t n, float reach, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> unit(-reach, reach);
  std::vector<float> values(n);
  for (float& value : values) value = unit(random);
  return values;
}

template <class Stored>
std::vector<float> elements_of(const GgufTensor& tensor, std::size_t row) {
  const std::size_t columns = tensor.shape[1];
  const auto* const of_row = reinterpret_cast<const Stored*>(tensor.bytes.data()) +
                             row * (columns / llama::kElementsOf<Stored>);
  std::vector<float> out;
  for (std::size_t i = 0; i < columns; ++i) out.push_back(llama::element_of(of_row, i));
  return out;
}

std::vector<float> elements_of(const GgufTensor& tensor, std::size_t row) {
  switch (tensor.dtype) {
    case DType::f16:
      return elements_of<llama::Float16>(tensor, row);
    case DType::bf16:
      return elements_of<llama::BFloat16>(tensor, row);
    case DType::q8_0:
      return elements_of<llama::Q8Block>(tensor, row);
    default:
      return elements_of<float>(tensor, row);
  }
}

std::vector<float> copied_row(const GgufTensor& tensor, std::size_t row) {
  std::vector<float> out(tensor.shape[1]);
  llama::copy_row(out,
                  {.dtype = tensor.dtype,
                   .rows = tensor.shape[0],
                   .columns = tensor.shape[1],
                   .bytes = std::as_bytes(std::span(tensor.bytes))},
                  row);
  return out;
}

// Equal to the bit.
TEST(LlamaKernels, ElementsOfEveryTypeAreThoseOfTheHost) {
  for (const DType type : llama::kMatrixTypes) {
    GgufTensor tensor{.name = "m", .shape = {3, 96}, .dtype = type, .bytes = {}};
    tensor.store(type, noise(std::size_t{3} * 96, 2, 5));
    for (std::size_t row = 0; row < 3; ++row) {
      EXPECT_EQ(elements_of(tensor, row), copied_row(tensor, row)) << to_string(type) << ' ' << row;
    }
  }
}

std::uint16_t half_bits(float value) { return llama::to_half(value).bits; }

constexpr std::uint16_t kHalfInfinity = 0x7c00;

// All halves, and the values between two neighbors.
TEST(LlamaKernels, AHalfIsTheNearestOne) {
  for (std::uint16_t bits = 0; bits < kHalfInfinity; ++bits) {
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const auto low = static_cast<float>(value_of_half(bits));
    // The largest half is rounded as if there were one more.
    const auto high = next == kHalfInfinity ? 65536.0F : static_cast<float>(value_of_half(next));
    const float between = (low + high) / 2;
    ASSERT_EQ(half_bits(low), bits);
    ASSERT_EQ(half_bits(-low), 0x8000U | bits);
    ASSERT_EQ(half_bits(std::nextafter(between, 0.0F)), bits);
    ASSERT_EQ(half_bits(between), bits % 2 == 0 ? bits : next);
    ASSERT_EQ(half_bits(std::nextafter(between, high)), next);
  }
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(half_bits(infinity), kHalfInfinity);
  EXPECT_EQ(half_bits(-infinity), 0x8000U | kHalfInfinity);
  EXPECT_EQ(half_bits(std::numeric_limits<float>::max()), kHalfInfinity);
  EXPECT_EQ(half_bits(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_TRUE(std::isnan(to_float(llama::to_half(std::nanf("1")))));
}

TEST(LlamaKernels, PairsTurnAsOnTheHost) {
  constexpr std::size_t kHead = 16;
  const std::vector<float> frequencies = noise(kHead / 2, 1, 9);
  for (const std::uint32_t position : {0U, 1U, 77U, 4095U}) {
    std::vector<float> found = noise(3 * kHead, 1, position);
    std::vector<float> expected = found;
    for (std::size_t pair = 0; pair < found.size() / 2; ++pair) {
      llama::turn_pair(&found[2 * pair], frequencies[pair % frequencies.size()], position);
    }
    std::vector<float> rotation(kHead);
    llama::rotation_at(rotation, frequencies, position);
    llama::rotate(expected, rotation);
    EXPECT_EQ(found, expected) << position;
  }
}

struct Mixed {
  OnlineSoftmax softmax{};
  float value = 0;

  void come(const OnlineSoftmax::Weights& weights, float own) {
    value = weights.former * value + weights.own * own;
  }
};

/// Computes as attention goes through positions: in parts, which are then joined.
float mixed_in_parts(const std::vector<float>& scores, const std::vector<float>& values,
                     std::size_t parts) {
  Mixed all;
  for (std::size_t part = 0; part < std::min(parts, scores.size()); ++part) {
    Mixed one;
    for (std::size_t p = part; p < scores.size(); p += parts) {
      one.come(one.softmax.add(scores[p]), values[p]);
    }
    all.come(all.softmax.join(one.softmax), one.value);
  }
  return all.value / all.softmax.sum;
}

TEST(LlamaKernels, ASoftmaxInPartsIsTheWholeOne) {
  for (const float reach : {0.1F, 10.0F, 1000.0F}) {
    for (const std::size_t positions : {1U, 2U, 31U, 32U, 33U, 500U}) {
      const std::vector<float> scores = noise(positions, reach, positions);
      const std::vector<float> values = noise(positions, 1, 3);
      std::vector<float> weights = scores;
      llama::softmax(weights);
      double expected = 0;
      for (std::size_t p = 0; p < positions; ++p) {
        expected += static_cast<double>(weights[p]) * static_cast<double>(values[p]);
      }
      for (const std::size_t parts : {1U, 3U, llama::kAttentionParts}) {
        EXPECT_NEAR(mixed_in_parts(scores, values, parts), expected, 2e-6)
            << reach << ' ' << positions << ' ' << parts;
      }
    }
  }
}

// Rising scores change the scale at every step; if they are far apart, the earlier ones vanish.
TEST(LlamaKernels, AnOnlineSoftmaxNeverOverflows) {
  OnlineSoftmax softmax;
  for (const float score : {-1e30F, -100.0F, 100.0F, 1e30F}) {
    const OnlineSoftmax::Weights weights = softmax.add(score);
    EXPECT_EQ(weights.former, 0) << score;
    EXPECT_EQ(weights.own, 1) << score;
    EXPECT_EQ(softmax.sum, 1) << score;
  }
  const OnlineSoftmax::Weights weights = softmax.add(0);
  EXPECT_EQ(weights.former, 1);
  EXPECT_EQ(weights.own, 0);
}

TEST(HostKernels, EveryHalfIsReadExactly) {
  GgufTensor tensor{.name = "m", .shape = {1, 65'536}, .dtype = DType::f16, .bytes = {}};
  for (std::uint32_t bits = 0; bits < 65'536; ++bits) {
    tensor.bytes += static_cast<char>(bits & 255);
    tensor.bytes += static_cast<char>(bits >> 8);
  }
  const std::vector<float> out = copied_row(tensor, 0);
  for (std::uint32_t bits = 0; bits < 65'536; ++bits) {
    const double expected = value_of_half(static_cast<std::uint16_t>(bits));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(out[bits])) << bits;
    } else {
      EXPECT_EQ(static_cast<double>(out[bits]), expected) << bits;
      EXPECT_EQ(std::signbit(out[bits]), std::signbit(expected)) << bits;
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
