// SPDX-License-Identifier: Apache-2.0
/// @file
/// The arithmetic of a Llama layer, in f32. Results do not depend on the number of threads, and a
/// matrix of any type gives bit for bit the results that the same values in f32 would give.
#pragma once

#include <cstddef>
#include <span>

#include "llama/llama_weights.hpp"
#include "llama/shape.hpp"
#include "llama/thread_pool.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// out = x / rms(x) * weight; `epsilon` is added to the mean square. `out` may be `x`.
void rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight,
             float epsilon) noexcept;

/// out = matrix * x. @pre the matrix has `out.size()` rows and `x.size()` columns
void matmul(ThreadPool& pool, std::span<float> out, std::span<const float> x,
            const Matrix& matrix) noexcept;

/// Copies a row of a matrix as floats. @pre row < matrix.rows, and out.size() == matrix.columns
void copy_row(std::span<float> out, const Matrix& matrix, std::size_t row) noexcept;

/// Computes the cosine and sine of each pair of a head at a position. Pair i turns by
/// `frequencies[i]` per position.
void rotation_at(std::span<float> rotation, std::span<const float> frequencies,
                 std::size_t position) noexcept;

/// Rotates the adjacent pairs of all heads in `x` by `rotation`, which has the length of one head.
void rotate(std::span<float> x, std::span<const float> rotation) noexcept;

/// Mixes the cached values, weighted by how well their keys match the query. Query head h reads KV
/// head h / (heads / kv_heads). `keys` is [positions][key_dim] and `values` is
/// [positions][value_dim]; `scores` has the exact size [heads][positions].
void attend(ThreadPool& pool, std::span<float> mixed, std::span<const float> query,
            std::span<float> scores, const float* keys, const float* values,
            const Shape& shape) noexcept;

/// gate = silu(gate) * up.
void swiglu(std::span<float> gate, std::span<const float> up) noexcept;

/// x += y.
void add(std::span<float> x, std::span<const float> y) noexcept;

/// Turns scores into probabilities.
void softmax(std::span<float> x) noexcept;

}  // namespace tapedeck::llama
