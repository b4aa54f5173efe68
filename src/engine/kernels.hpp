/// @file
/// The arithmetic of a Llama layer, in fp32. Results do not depend on the number of threads.
#pragma once

#include <cstddef>
#include <span>

#include "engine/thread_pool.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

/// out = x / rms(x) * weight. `out` may be `x`.
void rmsnorm(std::span<float> out, std::span<const float> x,
             std::span<const float> weight) noexcept;

/// out = matrix * x, where the matrix has `out.size()` rows of `x.size()`.
void matmul(ThreadPool& pool, std::span<float> out, std::span<const float> x,
            std::span<const float> matrix) noexcept;

/// Cosine and sine of each pair of a head at a position; theta is 10000.
void rotation_at(std::span<float> rotation, std::size_t position) noexcept;

/// Turns the adjacent pairs of all heads in `x` by `rotation`, which is as long as a head.
void rotate(std::span<float> x, std::span<const float> rotation) noexcept;

/// What has been cached of one layer: position p's keys of all KV heads begin at
/// `keys[p * stride]`.
struct CachedLayer {
  const float* keys;
  const float* values;
  std::size_t stride;
  std::size_t positions;
};

struct HeadCounts {
  std::size_t heads;
  std::size_t kv_heads;
};

/// Mixes the cached values by how well their keys match the query; query head h reads KV head
/// h / (heads / kv_heads). `scores` has room for [heads][positions].
void attend(ThreadPool& pool, std::span<float> mixed, std::span<const float> query,
            std::span<float> scores, const CachedLayer& cached, HeadCounts counts) noexcept;

/// gate = silu(gate) * up.
void swiglu(std::span<float> gate, std::span<const float> up) noexcept;

/// x += y.
void add(std::span<float> x, std::span<const float> y) noexcept;

/// Turns scores into probabilities.
void softmax(std::span<float> x) noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
