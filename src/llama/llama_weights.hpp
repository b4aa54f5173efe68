// SPDX-License-Identifier: Apache-2.0
/// @file
/// `LlamaWeights`: the tensors of a Llama model by their role, each as a `Matrix`.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/part_id.hpp"

namespace tapedeck::llama {

/// The matrix types that have kernels. Other types need an engine with more kernels than this one.
inline constexpr std::array kMatrixTypes = {DType::f32, DType::f16, DType::bf16, DType::q8_0};

/// A row-major matrix, [out][in]. A row is a whole number of the type's blocks. Thread-safety: a
/// value.
struct Matrix {
  DType dtype = DType::f32;  ///< One of `kMatrixTypes`, and aligned for it.
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::span<const std::byte> bytes{};

  /// The elements. @pre `dtype` is f32
  [[nodiscard]] std::span<const float> floats() const noexcept {
    return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
  }
};

/// The weights of one layer. Norms are f32 matrices of one row.
struct LayerWeights {
  Matrix attention_norm{};
  Matrix query{};
  Matrix key{};
  Matrix value{};
  Matrix attention_out{};
  Matrix ffn_norm{};
  Matrix gate{};
  Matrix up{};
  Matrix down{};
};

/// Views of weights whose bytes belong to a `tapedeck::Weights`.
struct LlamaWeights {
  Matrix token_embedding{};
  std::vector<LayerWeights> layers{};
  Matrix final_norm{};
  Matrix classifier{};  ///< The embedding table if the model has no classifier of its own.
};

/// One matrix of a layer. It is identified by `part`; file formats name it differently.
struct LayerArray {
  const char* name;  ///< For error messages.
  Part part;
  Matrix LayerWeights::*place;
  std::size_t rows;
  std::size_t columns;
};
[[nodiscard]] inline std::array<LayerArray, 9> layer_arrays(const Shape& s) noexcept {
  return {{
      {"attention norm", Part::attention_norm, &LayerWeights::attention_norm, 1, s.dim},
      {"query", Part::query, &LayerWeights::query, s.query_dim(), s.dim},
      {"key", Part::key, &LayerWeights::key, s.key_dim(), s.dim},
      {"value", Part::value, &LayerWeights::value, s.value_dim(), s.dim},
      {"attention output", Part::attention_output, &LayerWeights::attention_out, s.dim,
       s.mixed_dim()},
      {"feed-forward norm", Part::ffn_norm, &LayerWeights::ffn_norm, 1, s.dim},
      {"gate", Part::gate, &LayerWeights::gate, s.ffn, s.dim},
      {"up", Part::up, &LayerWeights::up, s.ffn, s.dim},
      {"down", Part::down, &LayerWeights::down, s.dim, s.ffn},
  }};
}

}  // namespace tapedeck::llama
