// SPDX-License-Identifier: Apache-2.0
/// @file
/// The stored types of a `Matrix` and the conversion of their elements to floats, for the kernels
/// on hosts and GPUs; also the parameters and arithmetic of llama_kernels.cu. The arithmetic
/// compiles for the host as well, where tests compare it with kernels.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

/// Marks functions that nvcc compiles for both host and device.
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

/// A block of q8_0 in ggml's layout.
struct Q8Block {
  static constexpr std::size_t kElements = 32;
  Float16 scale;
  std::int8_t quants[kElements];
};
static_assert(sizeof(Q8Block) == 34);

[[nodiscard]] TAPEDECK_HOST_DEVICE inline float to_float(float value) noexcept { return value; }

/// Converts exactly, including subnormal numbers, infinities and NaN. Has no branch, so that loops
/// are vectorized even on machines without an instruction for it.
[[nodiscard]] TAPEDECK_HOST_DEVICE inline float to_float(Float16 half) noexcept {
  constexpr std::uint32_t kExponent = 0x7f800000;
  const std::uint32_t sign = (half.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = (half.bits & 0x7fffU) << 13;
  // The exponent biases of the two types are 15 and 127. nvcc has no `std::bit_cast` on a device.
  const float scaled = __builtin_bit_cast(float, magnitude) * 0x1p112F;
  const std::uint32_t not_finite = magnitude >= (0x7c00U << 13) ? kExponent : 0;
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, scaled) | not_finite | sign);
}

/// Rounds to the nearest half, or to the even one of two; gives infinity if that is beyond the
/// largest (65504), and NaN for NaN.
[[nodiscard]] TAPEDECK_HOST_DEVICE inline Float16 to_half(float value) noexcept {
  constexpr std::uint32_t kInfinity = 0x7f800000;
  constexpr std::uint32_t kRoundsToInfinity = 0x477ff000;  // 65520, half a step above the largest
  constexpr std::uint32_t kLeastNormal = 0x38800000;       // 2^-14
  constexpr std::uint32_t kExponents = 15U << 23;          // rebiased from 127
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t size = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (size > kInfinity) {
    half = 0x7e00;
  } else if (size >= kRoundsToInfinity) {
    half = 0x7c00;
  } else if (size < kLeastNormal) {
    // Floats from 0.5 to 1 have the spacing of subnormal halves, so the addition rounds to it.
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

/// Everything that differs between steps. Kernels read it from device memory, so that one graph of
/// them serves every step.
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

/// The number of parts in which attention goes through the positions in parallel, for which the
/// buffers of `plan_decode_buffers` have room. Part s of each head has the positions s, s + 32, ...
inline constexpr unsigned kAttentionParts = 32;

/// The results of each part of each head, in f32 for any type of activations.
struct AttentionPartials {
  float* mixed;  ///< [heads][parts][value_size]
  float* most;   ///< [heads][parts]: `OnlineSoftmax::most`.
  float* sum;    ///< [heads][parts]: `OnlineSoftmax::sum`.
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

/// Stores a kernel's f32 result as an activation.
TAPEDECK_HOST_DEVICE inline void set_element(float* row, std::size_t i, float value) noexcept {
  row[i] = value;
}
TAPEDECK_HOST_DEVICE inline void set_element(Float16* row, std::size_t i, float value) noexcept {
  row[i] = to_half(value);
}

/// Rotates an adjacent pair by `frequency` times `position`.
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

/// A softmax over scores that arrive one after another. Each new score changes the weights of the
/// values that were mixed before it.
struct OnlineSoftmax {
  float most = -INFINITY;  ///< The largest score so far.
  float sum = 0;           ///< The sum of exp(score - most).

  /// Factors for the values mixed so far and for the new ones. Dividing the mix by `sum` is the
  /// last step.
  struct Weights {
    float former;
    float own;
  };

  /// @pre at least one of the two has scores.
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
