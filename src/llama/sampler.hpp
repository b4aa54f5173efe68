// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Sampler`: chooses a token from logits.
#pragma once

#include <cstdint>
#include <span>

#include "llama/random.hpp"
#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// Samples with a temperature. Thread-safety: one thread at a time.
class Sampler {
 public:
  /// Temperature 0 always chooses the best token and ignores the seed.
  /// @throws InvalidArgument for a temperature that is negative or not finite.
  explicit Sampler(float temperature, std::uint64_t seed = 0);

  /// Works in place: unless the temperature is 0, the logits are probabilities afterwards. If a
  /// broken model's logits contain NaN, some valid token is returned. @pre the span is not empty.
  [[nodiscard]] TokenId choose(std::span<float> logits) noexcept;

 private:
  float temperature_;
  Random random_;
};

}  // namespace tapedeck::llama
