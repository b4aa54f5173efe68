/// @file
/// The stored types of a `Matrix`, and how they become floats. For kernels.cpp, which is compiled
/// with the pragmas that are used here.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

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

/// Exact, subnormal numbers, infinities and NaN included. Without a branch, so that loops over it
/// become vector code on machines that have no instruction for it.
[[nodiscard]] inline float to_float(Float16 half) noexcept {
  constexpr std::uint32_t kExponent = 0x7f800000;
  const std::uint32_t sign = (half.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = (half.bits & 0x7fffU) << 13;
  // The exponents of the two types count from 15 and 127.
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112F;
  const std::uint32_t not_finite = magnitude >= (0x7c00U << 13) ? kExponent : 0;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | not_finite | sign);
}

[[nodiscard]] inline float to_float(BFloat16 brain) noexcept {
  return std::bit_cast<float>(std::uint32_t{brain.bits} << 16);
}

template <class Stored>
inline constexpr std::size_t kElementsOf = 1;
template <>
inline constexpr std::size_t kElementsOf<Q8Block> = Q8Block::kElements;

/// The first `n` elements as floats. @pre n is a multiple of kElementsOf<Stored>
template <class Stored>
void unpack(const Stored* from, std::size_t n, float* out) noexcept {
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) out[i] = to_float(from[i]);
}

inline void unpack(const Q8Block* from, std::size_t n, float* out) noexcept {
  for (std::size_t begin = 0; begin < n; begin += Q8Block::kElements) {
    const Q8Block& block = from[begin / Q8Block::kElements];
    const float scale = to_float(block.scale);
    float* const part = out + begin;
#pragma omp simd
    for (std::size_t i = 0; i < Q8Block::kElements; ++i) {
      part[i] = scale * static_cast<float>(block.quants[i]);
    }
  }
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
