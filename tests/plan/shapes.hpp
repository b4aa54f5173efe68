// SPDX-License-Identifier: Apache-2.0
/// @file
/// Models and weights composed by hand, for tests of plans.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::tests {

inline LayerShape attention_layer(std::uint64_t heads, std::uint64_t kv_heads, std::uint64_t dim,
                                  std::uint64_t ffn) {
  return {.attention = Attention::full,
          .heads = heads,
          .kv_heads = kv_heads,
          .key_dim = dim,
          .value_dim = dim,
          .ffn = ffn};
}

inline LayerShape windowed_layer(LayerShape layer, std::uint64_t window) {
  layer.attention = Attention::windowed;
  layer.window = window;
  return layer;
}

/// The attention of DeepSeek-V2-Lite: 16 heads over one latent row of 512 + 64.
inline LayerShape latent_layer() {
  return {.attention = Attention::latent, .heads = 16, .kv_heads = 1, .key_dim = 576, .ffn = 10944};
}

/// Mamba-2: d_inner 3072, d_state 128, one group, four tokens of convolution (Granite-4.0-H-Tiny).
inline LayerShape mamba2_layer() {
  return {.recurrence = Recurrence::mamba2,
          .conv_state = std::uint64_t{3} * (3072 + 2 * 128),
          .state = std::uint64_t{3072} * 128,
          .inner = 3072,
          .ffn = 512};
}

inline Model model_of(std::vector<LayerShape> layers, std::uint64_t hidden = 512,
                      std::uint64_t vocabulary = 1000, std::uint64_t context = 4096) {
  Model model;
  model.format = ModelFormat::config;
  model.shape.architecture = "llama";
  model.shape.hidden = hidden;
  model.shape.vocabulary = vocabulary;
  model.shape.context = context;
  model.shape.layers = std::move(layers);
  model.shape.dtype = DType::bf16;
  model.shape.exact_weights = model.shape.exact_caches = true;
  model.shape.parameters = {
      {"embedding", ParameterKind::embedding, 1, vocabulary, hidden},
      {"final_norm", ParameterKind::norm, 1, 1, hidden},
  };
  return model;
}

/// Weights with a name that no other region has.
inline Region weight_region(const PartId& id, std::uint64_t bytes) {
  static int regions = 0;
  return {.id = id, .name = "region " + std::to_string(++regions), .bytes = bytes};
}

/// The shape of Qwen2-1.5B.
inline Model qwen2_1_5b() {
  return model_of(std::vector<LayerShape>(28, attention_layer(12, 2, 128, 8960)), 1536, 151936,
                  131072);
}

}  // namespace tapedeck::tests
