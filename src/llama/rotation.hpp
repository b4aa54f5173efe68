/// @file
/// The frequencies of rotary position embedding.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

inline constexpr float kUsualRotationBase = 10'000;

/// For each pair of a head, base^(-2i / size).
[[nodiscard]] inline std::vector<float> rotary_frequencies(std::size_t head_size, float base) {
  std::vector<float> frequencies(head_size / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float turn = static_cast<float>(2 * i) / static_cast<float>(head_size);
    frequencies[i] = 1.0F / std::pow(base, turn);
  }
  return frequencies;
}

}  // namespace tapedeck::llama
