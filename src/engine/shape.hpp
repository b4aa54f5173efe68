/// @file
/// What a llama2.c model is made of: its figures, and the arrays that follow from them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

using TokenId = std::uint32_t;

/// The figures of a model, in the order of a checkpoint's header.
struct Shape {
  std::size_t dim = 0;
  std::size_t ffn = 0;
  std::size_t layers = 0;
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t vocab = 0;
  std::size_t seq_len = 0;
  bool own_classifier = false;  ///< Otherwise the embedding table is the classifier too.

  [[nodiscard]] std::size_t head_size() const noexcept { return dim / heads; }
  [[nodiscard]] std::size_t kv_dim() const noexcept { return kv_heads * head_size(); }
};

/// Why a shape is no model.
struct ShapeFault {
  std::size_t field;  ///< Its place in `Shape`, from 0.
  std::string text;
};

/// Nothing where the shape is one that can be computed with.
[[nodiscard]] std::optional<ShapeFault> find_fault(const Shape& shape);

/// The arrays of a model. Matrices are row-major, [out][in], all layers of one kind together.
struct Weights {
  std::span<const float> token_embedding;
  std::span<const float> attention_norm;
  std::span<const float> wq;
  std::span<const float> wk;
  std::span<const float> wv;
  std::span<const float> wo;
  std::span<const float> ffn_norm;
  std::span<const float> w1;  ///< gate
  std::span<const float> w2;  ///< down
  std::span<const float> w3;  ///< up
  std::span<const float> final_norm;
  std::span<const float> classifier;
};

/// One array of a checkpoint.
struct Tensor {
  const char* name;
  std::span<const float> Weights::*place;  ///< nullptr: in the file, but not used any more.
  std::size_t layers;
  std::size_t rows;  ///< 1 for a vector; 0 for an array this model does not have.
  std::size_t columns;

  /// Nothing where the product does not fit.
  [[nodiscard]] std::optional<std::size_t> bytes() const noexcept;
};

/// All arrays in the order of the file. Whoever sizes, reads or writes a model walks this list.
[[nodiscard]] std::array<Tensor, 14> tensors(const Shape& shape) noexcept;

/// Bytes of a checkpoint's header: seven int32.
inline constexpr std::size_t kHeaderBytes = 28;

/// Bytes of the whole checkpoint; nothing where they do not fit.
[[nodiscard]] std::optional<std::size_t> file_bytes(const Shape& shape) noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
