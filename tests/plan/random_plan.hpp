// SPDX-License-Identifier: Apache-2.0
/// @file
/// Random models that follow no rule, and random options to plan them.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "plan/shapes.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {

/// Every kind of layer, any width. There is one pick per statement, because compilers evaluate
/// arguments in different orders.
class RandomPlan {
 public:
  /// @param other  another engine whose memory half of them predict, instead of Tapedeck's own.
  explicit RandomPlan(std::uint32_t seed, const Profile& other = native_profile()) : random_(seed) {
    std::vector<LayerShape> layers(up_to(12));
    for (LayerShape& layer : layers) layer = random_layer();
    const std::uint64_t hidden = 32 * up_to(64);
    const std::uint64_t vocabulary = up_to(50'000);
    model = model_of(layers, hidden, vocabulary, up_to(20'000));
    model.shape.parameters.push_back({"layers.attention.q",
                                      ParameterKind::matrix,
                                      layers.size(),
                                      hidden,
                                      hidden,
                                      {.part = Part::query, .every_layer = true}});
    model.shape.parameters.push_back({"layers.norm",
                                      ParameterKind::norm,
                                      2 * layers.size(),
                                      1,
                                      hidden,
                                      {.part = Part::norm, .every_layer = true}});
    choose_options();
    if (one_in(2)) options.profile = other;
  }

  Model model;
  PlanOptions options;

 private:
  std::uint64_t up_to(std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(1, most)(random_);
  }
  bool one_in(std::uint64_t count) { return up_to(count) == 1; }

  LayerShape random_layer() {
    if (one_in(4)) return mamba2_layer();
    if (one_in(6)) return latent_layer();
    const std::uint64_t kv_heads = up_to(8);
    const std::uint64_t heads = kv_heads * up_to(4);
    const std::uint64_t head_dim = 32 * up_to(8);
    LayerShape layer = attention_layer(heads, kv_heads, head_dim, one_in(3) ? 0 : up_to(9000));
    if (one_in(3)) layer.value_dim = 32 * up_to(4);
    if (one_in(3)) layer = windowed_layer(layer, up_to(3000));
    if (one_in(5)) layer.shares_cache = true;
    if (one_in(3)) {
      layer.experts = 8;
      layer.experts_used = up_to(8);
      layer.expert_ffn = up_to(3000);
      layer.shared_ffn = one_in(2) ? 0 : 512;
    }
    return layer;
  }

  void choose_options() {
    constexpr std::array kTypes = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};
    options.total_context = up_to(model.shape.context);
    options.sequences = up_to(5);
    options.unified = one_in(2);
    options.decode_batch = up_to(16);
    options.batch = up_to(3000);
    options.micro_batch = up_to(1000);
    options.key_type = kTypes[up_to(kTypes.size()) - 1];
    options.value_type = kTypes[up_to(kTypes.size()) - 1];
    // The engine supports a quantized V only with flash attention.
    options.flash_attention = one_in(2) || options.value_type >= DType::q4_0;
    options.full_window_cache = one_in(4);
    options.rollback_states = up_to(3) - 1;
    options.all_logits = one_in(2);
    options.overhead = up_to(1'000'000);
  }

  std::mt19937 random_;
};

}  // namespace tapedeck::tests
