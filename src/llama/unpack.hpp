/// @file
/// How the elements of a `Matrix` become floats, many at a time. For kernels.cpp, which is compiled
/// with the pragmas that are used here.
#pragma once

#include <cstddef>

#include "llama/stored.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

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

}  // namespace tapedeck::llama
