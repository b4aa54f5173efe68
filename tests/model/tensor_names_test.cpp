// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_names.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace tapedeck::tests {
namespace {

using internal::part_id_of;

std::optional<std::uint32_t> layer_in(std::string_view name) { return part_id_of(name).layer; }

TEST(TensorNames, TheLayerIsTheFirstNumberBetweenDots) {
  EXPECT_EQ(layer_in("blk.3.attn_q.weight"), 3U);
  EXPECT_EQ(layer_in("model.layers.12.mlp.experts.7.up_proj.weight"), 12U);
  EXPECT_EQ(layer_in("transformer.h.0.attn.c_attn.weight"), 0U);
  EXPECT_EQ(layer_in("5"), 5U);
  for (const char* name : {"token_embd.weight", "conv1d.w2", "blk.-1.w", "blk.65536.w",
                           "blk.4294967296000.w", "blk.99999999999999999999999.w", "", "..."}) {
    EXPECT_EQ(layer_in(name), std::nullopt) << name;
  }
}

TEST(TensorNames, EachTowerCountsItsOwnLayers) {
  const auto expect = [](std::string_view name, Tower tower, std::uint32_t layer) {
    const PartId id = part_id_of(name);
    EXPECT_EQ(id.tower, tower) << name;
    EXPECT_EQ(id.layer, layer) << name;
  };
  expect("vision.blk.3.attn_q.weight", Tower::vision, 3);
  expect("model.visual.blocks.3.mlp.linear_fc1.weight", Tower::vision, 3);
  expect("v.blk.3.attn_q.weight", Tower::vision, 3);
  expect("audio_tower.layers.3.fc1.weight", Tower::audio, 3);
  expect("mtp.layers.0.mlp.up_proj.weight", Tower::draft, 0);
  expect("model.language_model.layers.2.mlp.up_proj.weight", Tower::text, 2);
  // An expert for images inside a layer of the text decoder.
  expect("model.layers.2.mlp.vision_mlp.up_proj.weight", Tower::text, 2);
}

TEST(TensorNames, RoutedExpertsAreNumberedOrAllInOne) {
  const PartId one = part_id_of("model.layers.1.mlp.experts.17.up_proj.weight");
  EXPECT_EQ(one.part, Part::expert_up);
  EXPECT_EQ(one.expert, 17U);
  for (const char* name : {"blk.3.ffn_up_exps.weight", "model.layers.3.mlp.experts.up_proj",
                           "model.layers.3.mlp.experts.4294967296.up_proj.weight"}) {
    EXPECT_EQ(part_id_of(name).part, Part::expert_up) << name;
    EXPECT_EQ(part_id_of(name).expert, std::nullopt) << name;
  }
  EXPECT_EQ(part_id_of("blk.3.ffn_up_shexp.weight").part, Part::shared_up);
  EXPECT_EQ(part_id_of("model.layers.3.mlp.shared_experts.up_proj.weight").part, Part::shared_up);
  EXPECT_EQ(part_id_of("blk.3.ffn_gate_inp_shexp.weight").part, Part::shared_other);
  EXPECT_EQ(part_id_of("blk.3.ffn_gate_inp.weight").part, Part::router);
  EXPECT_EQ(part_id_of("model.layers.3.mlp.gate.weight").part, Part::router);
  EXPECT_EQ(part_id_of("blk.3.exp_probs_b.bias").part, Part::router);
}

TEST(TensorNames, BothSpellingsMeanTheSame) {
  const auto expect = [](Part part, std::string_view gguf, std::string_view other) {
    EXPECT_EQ(part_id_of(gguf).part, part) << gguf;
    EXPECT_EQ(part_id_of(other).part, part) << other;
  };
  expect(Part::embedding, "token_embd.weight", "model.embed_tokens.weight");
  expect(Part::final_norm, "output_norm.weight", "model.norm.weight");
  expect(Part::head, "output.weight", "lm_head.weight");
  expect(Part::embedding_norm, "token_embd_norm.weight", "bert.embeddings.LayerNorm.weight");
  expect(Part::attention_norm, "blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight");
  expect(Part::query, "blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight");
  expect(Part::query_key_value, "blk.0.attn_qkv.weight", "h.0.self_attn.qkv_proj.weight");
  expect(Part::latent, "blk.0.attn_kv_a_mqa.weight", "a.layers.0.attn.kv_a_proj_with_mqa.weight");
  expect(Part::attention_output, "blk.0.attn_output.weight", "layers.0.self_attn.o_proj.weight");
  expect(Part::attention_inner_norm, "blk.0.attn_q_norm.weight", "layers.0.attn.q_norm.weight");
  expect(Part::gate, "blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight");
  expect(Part::recurrent, "blk.0.ssm_in.weight", "layers.0.linear_attn.out_proj.weight");
  expect(Part::convolution, "blk.0.ssm_conv1d.weight", "layers.0.linear_attn.conv1d.weight");
  expect(Part::recurrent_norm, "blk.0.ssm_norm.weight", "layers.0.linear_attn.norm.weight");
}

TEST(TensorNames, BiasesAndScalesArePiecesOfTheirPart) {
  const auto expect = [](std::string_view name, Part part, Piece piece) {
    EXPECT_EQ(part_id_of(name).part, part) << name;
    EXPECT_EQ(part_id_of(name).piece, piece) << name;
  };
  expect("blk.0.attn_k.bias", Part::key, Piece::bias);
  expect("layers.0.mlp.experts.gate_up_proj_bias", Part::expert_gate_up, Piece::bias);
  expect("layers.0.mlp.experts.gate_up_proj_blocks", Part::expert_gate_up, Piece::weight);
  expect("layers.0.mlp.experts.gate_up_proj_scales", Part::expert_gate_up, Piece::scale);
  expect("layers.0.self_attn.v_proj.weight_scale_inv", Part::value, Piece::scale);
  expect("layers.0.self_attn.v_proj.qzeros", Part::value, Piece::zero_point);
  expect("layers.0.self_attn.v_proj.g_idx", Part::value, Piece::index);
}

}  // namespace
}  // namespace tapedeck::tests
