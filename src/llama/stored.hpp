/// @file
/// The stored types of a `Matrix`, and what their elements are as floats: for the kernels of hosts
/// and of GPUs.
#pragma once

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

}  // namespace tapedeck::llama
