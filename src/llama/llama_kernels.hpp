/// @file
/// What the kernels of llama_kernels.cu are made of, and are called with. Its arithmetic is the
/// host's too, whose tests hold it against kernels.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "llama/stored.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// All that differs from one step to the next. Kernels read it from device memory, so that a graph
/// of them is right for every step as it is.
struct StepInput {
  std::uint32_t token;
  std::uint32_t position;
};

struct AttentionHeads {
  unsigned heads;
  unsigned kv_heads;
  unsigned key_size;
  unsigned value_size;
};

/// Attention goes through the positions in so many parts at once: as many as the buffers of
/// `plan_decode_buffers` have room for. Part s of each head has the positions s, s + 32, and so on.
inline constexpr unsigned kAttentionParts = 32;

/// Of each part of each head, in f32 whatever activations are in.
struct AttentionPartials {
  float* mixed;  ///< [heads][parts][value_size]
  float* most;   ///< [heads][parts], and so `sum`: its `OnlineSoftmax`.
  float* sum;
};

template <class Stored>
[[nodiscard]] TAPEDECK_HOST_DEVICE inline float element_of(const Stored* row,
                                                           std::size_t i) noexcept {
  return to_float(row[i]);
}
[[nodiscard]] TAPEDECK_HOST_DEVICE inline float element_of(const Q8Block* row,
                                                           std::size_t i) noexcept {
  const Q8Block& block = row[i / Q8Block::kElements];
  return to_float(block.scale) * static_cast<float>(block.quants[i % Q8Block::kElements]);
}

/// Of activations, of which a kernel's sums are in f32.
TAPEDECK_HOST_DEVICE inline void set_element(float* row, std::size_t i, float value) noexcept {
  row[i] = value;
}
TAPEDECK_HOST_DEVICE inline void set_element(Float16* row, std::size_t i, float value) noexcept {
  row[i] = to_half(value);
}

/// Turns an adjacent pair by `frequency` for each position.
template <class Element>
TAPEDECK_HOST_DEVICE inline void turn_pair(Element* pair, float frequency,
                                           std::uint32_t position) noexcept {
  const float angle = static_cast<float>(position) * frequency;
  const float cosine = std::cos(angle);
  const float sine = std::sin(angle);
  const float a = element_of(pair, 0);
  const float b = element_of(pair, 1);
  set_element(pair, 0, a * cosine - b * sine);
  set_element(pair, 1, a * sine + b * cosine);
}

[[nodiscard]] TAPEDECK_HOST_DEVICE inline float silu_times(float gate, float up) noexcept {
  return gate / (1.0F + std::exp(-gate)) * up;
}

/// The softmax of scores that come one after another: values that are mixed by it are weighted
/// anew whenever a score comes.
struct OnlineSoftmax {
  float most = -INFINITY;  ///< Of all scores so far,
  float sum = 0;           ///< and the sum of exp(score - most).

  /// What all that was mixed so far is to be multiplied by, and what comes to it now. The quotient
  /// by `sum` is the last step.
  struct Weights {
    float former;
    float own;
  };

  /// @pre one of both has scores, here and below.
  TAPEDECK_HOST_DEVICE Weights join(const OnlineSoftmax& other) noexcept {
    const float next = std::fmax(most, other.most);
    const Weights weights = {std::exp(most - next), std::exp(other.most - next)};
    sum = weights.former * sum + weights.own * other.sum;
    most = next;
    return weights;
  }
  TAPEDECK_HOST_DEVICE Weights add(float score) noexcept { return join({score, 1.0F}); }
};

}  // namespace tapedeck::llama
