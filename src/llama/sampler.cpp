// SPDX-License-Identifier: Apache-2.0
#include "llama/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "llama/kernels.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {

Sampler::Sampler(float temperature, std::uint64_t seed) : temperature_(temperature), random_(seed) {
  if (!std::isfinite(temperature) || temperature < 0) {
    throw InvalidArgument({.argument = "temperature"},
                          "the temperature cannot be " + std::to_string(temperature),
                          "0 always chooses the best token, 1 samples as the model was trained");
  }
}

TokenId Sampler::choose(std::span<float> logits) noexcept {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (temperature_ == 0) return static_cast<TokenId>(best - logits.begin());

  // The maximum is subtracted before the division, so that a tiny temperature cannot overflow.
  const float most = *best;
  for (float& logit : logits) logit = (logit - most) / temperature_;
  softmax(logits);
  float left = random_.unit();
  for (std::size_t token = 0; token + 1 < logits.size(); ++token) {
    left -= logits[token];
    if (left < 0) return static_cast<TokenId>(token);
  }
  return static_cast<TokenId>(logits.size() - 1);  // rounding may leave a remainder
}

}  // namespace tapedeck::llama
