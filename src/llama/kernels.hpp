/// @file
/// The arithmetic of a Llama layer, in fp32. Results do not depend on the number of threads, and
/// matrices of any type give, to the bit, what their values in f32 would give.
#pragma once

#include <cstddef>
#include <span>

#include "llama/llama_weights.hpp"
#include "llama/shape.hpp"
#include "llama/thread_pool.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// out = x / rms(x) * weight, where `epsilon` is added to the mean square. `out` may be `x`.
void rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight,
             float epsilon) noexcept;

/// out = matrix * x. @pre the matrix has `out.size()` rows and `x.size()` columns
void matmul(ThreadPool& pool, std::span<float> out, std::span<const float> x,
            const Matrix& matrix) noexcept;

/// A row of a matrix as floats. @pre row < matrix.rows, and out.size() == matrix.columns
void copy_row(std::span<float> out, const Matrix& matrix, std::size_t row) noexcept;

/// Cosine and sine of each pair of a head at a position, where pair i turns by `frequencies[i]` a
/// position.
void rotation_at(std::span<float> rotation, std::span<const float> frequencies,
                 std::size_t position) noexcept;

/// Turns the adjacent pairs of all heads in `x` by `rotation`, which is as long as a head.
void rotate(std::span<float> x, std::span<const float> rotation) noexcept;

/// Mixes the cached values by how well their keys match the query; query head h reads KV head
/// h / (heads / kv_heads). `keys` are [positions][key_dim] and `values` [positions][value_dim];
/// `scores` have room for exactly [heads][positions].
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
