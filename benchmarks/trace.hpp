// SPDX-License-Identifier: Apache-2.0
/// @file
/// The load of the benchmarks: the takes of a decoder for one token, in its order.
#pragma once

#include <cstddef>
#include <vector>

namespace trace {

/// A model of 1.5 billion parameters (28 layers, grouped-query attention), computed in fp32.
inline constexpr std::size_t kLayers = 28;
inline constexpr std::size_t kHidden = 1536;
inline constexpr std::size_t kKv = 256;
inline constexpr std::size_t kFfn = 8960;
inline constexpr std::size_t kVocab = 151'936;

/// The sizes of the takes of one token, in elements, in a decoder's order: 200 takes, 3.7 MiB in
/// fp32.
inline std::vector<std::size_t> elements() {
  std::vector<std::size_t> takes{kHidden};  // the token's embedding
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    // normed, q, k, v, attention, gate, up
    takes.insert(takes.end(), {kHidden, kHidden, kKv, kKv, kHidden, kFfn, kFfn});
  }
  takes.insert(takes.end(), {kHidden, kVocab, kVocab});  // normed, logits, probabilities
  return takes;
}

/// The sizes of the takes of one token in bytes.
inline std::vector<std::size_t> bytes() {
  std::vector<std::size_t> takes = elements();
  for (std::size_t& take : takes) take *= sizeof(float);
  return takes;
}

/// The bytes that one token takes.
inline std::size_t total() {
  std::size_t sum = 0;
  for (const std::size_t take : bytes()) sum += take;
  return sum;
}

/// Uses a pointer, which must be in a register. (benchmark::DoNotOptimize lets the compiler choose
/// memory, which adds a store to some rows.)
[[gnu::always_inline]] inline void use(const void* pointer) { asm volatile("" : : "r"(pointer)); }

/// Uses a pointer like `use`, and makes the compiler assume that memory has changed, as if the
/// taken bytes had been written. So no allocator can keep its head in a register between takes.
[[gnu::always_inline]] inline void sink(const void* pointer) {
  asm volatile("" : : "r"(pointer) : "memory");
}

}  // namespace trace
