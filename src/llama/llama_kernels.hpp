/// @file
/// The stored types of a `Matrix` and what their elements are as floats, for the kernels of hosts
/// and of GPUs; and what else llama_kernels.cu is made of and called with. Its arithmetic is the
/// host's too, whose tests hold it against kernels.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

/// What nvcc compiles for both.
#ifdef __CUDACC__
#define TAPEDECK_HOST_DEVICE __host__ __device__
#else
#define TAPEDECK_HOST_DEVICE
#endif

namespace tapedeck::llama {

struct Float16 {
  std::uint16_t bits;
};

struct BFloat16 {
  std::uint16_t bits;
};

/// A block of q8_0, as ggml has it.
struct Q8Block {
  static constexpr std::size_t kElements = 32;
  Float16 scale;
  std::int8_t quants[kElements];
};
static_assert(sizeof(Q8Block) == 34);

[[nodiscard]] TAPEDECK_HOST_DEVICE inline float to_float(float value) noexcept { return value; }

/// Exact, subnormal numbers, infinities and NaN included. Without a branch, so that loops over it
/// become vector code on machines that have no instruction for it.
[[nodiscard]] TAPEDECK_HOST_DEVICE inline float to_float(Float16 half) noexcept {
  constexpr std::uint32_t kExponent = 0x7f800000;
  const std::uint32_t sign = (half.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = (half.bits & 0x7fffU) << 13;
  // The exponents of the two types count from 15 and 127. `std::bit_cast` is the host's alone.
  const float scaled = __builtin_bit_cast(float, magnitude) * 0x1p112F;
  const std::uint32_t not_finite = magnitude >= (0x7c00U << 13) ? kExponent : 0;
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, scaled) | not_finite | sign);
}

/// The nearest one, of two the even one; infinity beyond the largest (65504), NaN for NaN.
[[nodiscard]] TAPEDECK_HOST_DEVICE inline Float16 to_half(float value) noexcept {
  constexpr std::uint32_t kInfinity = 0x7f800000;
  constexpr std::uint32_t kRoundsToInfinity = 0x477ff000;  // 65520, half a step above the largest
  constexpr std::uint32_t kLeastNormal = 0x38800000;       // 2^-14
  constexpr std::uint32_t kExponents = 15U << 23;          // from those counted from 127
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t size = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (size > kInfinity) {
    half = 0x7e00;
  } else if (size >= kRoundsToInfinity) {
    half = 0x7c00;
  } else if (size < kLeastNormal) {
    // Floats from 0.5 to 1 have the steps of subnormal halves, so the sum is rounded to those.
    const float rounded = __builtin_bit_cast(float, size) + 0.5F;
    half = __builtin_bit_cast(std::uint32_t, rounded) - __builtin_bit_cast(std::uint32_t, 0.5F);
  } else {
    const std::uint32_t even = size >> 13 & 1U;
    half = (size - (127U << 23) + kExponents + 0xfffU + even) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

[[nodiscard]] TAPEDECK_HOST_DEVICE inline float to_float(BFloat16 brain) noexcept {
  return __builtin_bit_cast(float, std::uint32_t{brain.bits} << 16);
}

template <class Stored>
inline constexpr std::size_t kElementsOf = 1;
template <>
inline constexpr std::size_t kElementsOf<Q8Block> = Q8Block::kElements;

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
