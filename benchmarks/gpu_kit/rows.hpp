// SPDX-License-Identifier: Apache-2.0
/// @file
/// The layout of a KV cache in chunks, for both the probe's kernels and the host.
#pragma once

#ifdef __CUDACC__
#define TAPEDECK_HOST_DEVICE __host__ __device__
#else
#define TAPEDECK_HOST_DEVICE
#endif

namespace tapedeck::gpu_kit {

inline constexpr unsigned kKvHeads = 8;
inline constexpr unsigned kHeadDim = 128;
inline constexpr unsigned kColumns = kKvHeads * kHeadDim;  // of a row, in bf16
inline constexpr unsigned kRowBytes = 2 * kColumns;
inline constexpr unsigned kLayers = 32;
inline constexpr unsigned kRegions = 2 * kLayers;  // K and V of each layer

/// Row i of region r is at base + (i / T) * chunk_bytes + (r * T + i % T) * row_bytes: a chunk
/// holds T rows of every region, one region after the other. T is a power of two.
struct Rows {
  unsigned char* base;
  unsigned log2_rows_of_chunk;
  unsigned tokens;

  [[nodiscard]] TAPEDECK_HOST_DEVICE unsigned char* at(unsigned region, unsigned token) const {
    const unsigned long long rows = 1ULL << log2_rows_of_chunk;
    const unsigned long long chunk = token >> log2_rows_of_chunk;
    const unsigned long long row = chunk * kRegions * rows + region * rows + (token & (rows - 1));
    return base + row * kRowBytes;
  }
};

/// Elements are small integers, so a float holds all of their sums exactly, in any order.
[[nodiscard]] TAPEDECK_HOST_DEVICE inline unsigned key_at(unsigned region, unsigned token,
                                                          unsigned column) {
  return (region * 7 + token * 13 + column * 5) % 16;
}
[[nodiscard]] TAPEDECK_HOST_DEVICE inline unsigned query_at(unsigned column) { return column % 4; }

inline constexpr unsigned kWarp = 32;
inline constexpr unsigned kElementsOfWords = 8;  // that a lane reads from a row at once

/// The index in the query of the element for a column. Elements that the lanes of a warp read at
/// the same time are contiguous.
[[nodiscard]] constexpr unsigned query_index(unsigned column) {
  const unsigned words = column / kElementsOfWords;
  const unsigned element = column % kElementsOfWords;
  return (words / kWarp * kElementsOfWords + element) * kWarp + words % kWarp;
}

/// What a thread does between a write through one address of a page and a read through another one.
enum class Between : int { nothing, volatile_access, fence, fence_and_volatile, proxy_fence };

/// The word that a round writes at an index.
[[nodiscard]] TAPEDECK_HOST_DEVICE inline unsigned word_at(unsigned index, unsigned round) {
  return index * 2654435761U + round;
}

}  // namespace tapedeck::gpu_kit
