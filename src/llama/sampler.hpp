/// @file
/// Chooses a token from logits.
#pragma once

#include <cstdint>
#include <span>

#include "llama/random.hpp"
#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// Thread-safety: one thread at a time.
class Sampler {
 public:
  /// Temperature 0 chooses the best token, and needs no seed.
  /// @throws InvalidArgument for a temperature that is negative or not finite.
  explicit Sampler(float temperature, std::uint64_t seed = 0);

  /// Works in place: the logits are probabilities afterwards, unless the temperature is 0. Logits
  /// of a broken model (NaN) give some token. @pre the span is not empty.
  [[nodiscard]] TokenId choose(std::span<float> logits) noexcept;

 private:
  float temperature_;
  Random random_;
};

}  // namespace tapedeck::llama
