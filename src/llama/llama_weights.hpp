/// @file
/// `LlamaWeights`: the tensors of a Llama model by their use, and what files call them.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "llama/matrix.hpp"
#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

struct LayerWeights {
  std::span<const float> attention_norm{};
  Matrix query{};
  Matrix key{};
  Matrix value{};
  Matrix attention_out{};
  std::span<const float> ffn_norm{};
  Matrix gate{};
  Matrix up{};
  Matrix down{};
};

/// Views; the bytes are a `tapedeck::Weights`'.
struct LlamaWeights {
  Matrix token_embedding{};
  std::vector<LayerWeights> layers{};
  std::span<const float> final_norm{};
  Matrix classifier{};  ///< The embedding table again, where the model has no other.
};

/// What a tensor is called. In GGUF each layer has its own ("blk.7.attn_q.weight"), in llama2.c all
/// layers of a kind are one array ("wq").
struct TensorName {
  const char* gguf;
  const char* llama2c;
};

/// Of a layer's tensor.
[[nodiscard]] inline std::string gguf_name(const TensorName& name, std::size_t layer) {
  return "blk." + std::to_string(layer) + "." + name.gguf + ".weight";
}

inline constexpr TensorName kTokenEmbedding = {"token_embd.weight", "token_embedding_table"};
inline constexpr TensorName kFinalNorm = {"output_norm.weight", "rms_final_weight"};
inline constexpr TensorName kClassifier = {"output.weight", "wcls"};
/// Of Llama 3: one factor for each pair that is rotated. llama2.c has none.
inline constexpr const char* kRotationFactors = "rope_freqs.weight";

struct LayerNorm {
  TensorName name;
  std::span<const float> LayerWeights::*place;
};
inline constexpr std::array<LayerNorm, 2> kLayerNorms = {{
    {{"attn_norm", "rms_att_weight"}, &LayerWeights::attention_norm},
    {{"ffn_norm", "rms_ffn_weight"}, &LayerWeights::ffn_norm},
}};

struct LayerMatrix {
  TensorName name;
  Matrix LayerWeights::*place;
  std::size_t rows;
  std::size_t columns;
};
[[nodiscard]] inline std::array<LayerMatrix, 7> layer_matrices(const Shape& s) noexcept {
  return {{
      {{"attn_q", "wq"}, &LayerWeights::query, s.query_dim(), s.dim},
      {{"attn_k", "wk"}, &LayerWeights::key, s.key_dim(), s.dim},
      {{"attn_v", "wv"}, &LayerWeights::value, s.value_dim(), s.dim},
      {{"attn_output", "wo"}, &LayerWeights::attention_out, s.dim, s.mixed_dim()},
      {{"ffn_gate", "w1"}, &LayerWeights::gate, s.ffn, s.dim},
      {{"ffn_up", "w3"}, &LayerWeights::up, s.ffn, s.dim},
      {{"ffn_down", "w2"}, &LayerWeights::down, s.dim, s.ffn},
  }};
}

}  // namespace tapedeck::llama
