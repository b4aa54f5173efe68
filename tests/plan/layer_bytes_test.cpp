#include "plan/layer_bytes.hpp"

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;

Region weight_region(const std::string& name, std::uint64_t bytes) {
  return {.name = name, .role = RegionRole::weight, .bytes = bytes};
}

TEST(LayerOf, IsTheFirstNumberBetweenDots) {
  using internal::layer_of;
  EXPECT_EQ(layer_of("blk.3.attn_q.weight"), 3U);
  EXPECT_EQ(layer_of("model.layers.12.mlp.experts.7.up_proj.weight"), 12U);
  EXPECT_EQ(layer_of("transformer.h.0.attn.c_attn.weight"), 0U);
  EXPECT_EQ(layer_of("layers.31.k"), 31U);
  EXPECT_EQ(layer_of("5"), 5U);
  EXPECT_EQ(layer_of("token_embd.weight"), std::nullopt);
  EXPECT_EQ(layer_of("layers.ffn.gate"), std::nullopt);
  EXPECT_EQ(layer_of("conv1d.w2"), std::nullopt);
  EXPECT_EQ(layer_of("blk.-1.w"), std::nullopt);
  EXPECT_EQ(layer_of("blk.4294967296000.w"), std::nullopt);
  EXPECT_EQ(layer_of("blk.99999999999999999999999.w"), std::nullopt);
  EXPECT_EQ(layer_of("vision_tower.encoder.layers.3.mlp.fc1.weight"), std::nullopt);
  EXPECT_EQ(layer_of(""), std::nullopt);
  EXPECT_EQ(layer_of("..."), std::nullopt);
}

TEST(OfExperts, AreRoutedOnes) {
  using internal::of_experts;
  for (const char* name :
       {"blk.3.ffn_up_exps.weight", "model.layers.12.mlp.experts.7.up_proj.weight",
        "layers.experts", "layers.experts.down.scales"}) {
    EXPECT_TRUE(of_experts(name)) << name;
  }
  for (const char* name :
       {"blk.3.ffn_up_shexp.weight", "layers.shared_expert.gate", "mlp.shared_experts.up_proj",
        "layers.router", "blk.3.ffn_gate_inp.weight", "blk.3.exp_probs_b.bias", "", "..."}) {
    EXPECT_FALSE(of_experts(name)) << name;
  }
}

TEST(BytesByLayer, SharesOutWhatAllLayersHaveTogether) {
  ModelShape shape;
  shape.vocabulary = 100;
  shape.layers.resize(4);
  for (std::size_t i = 1; i < 4; ++i) shape.layers[i].experts = 8;
  shape.layers[0].ffn = 64;
  TapePlan tape(TapeKind::weights);
  tape.append(weight_region("embedding", 1000));
  tape.append(weight_region("layers.norm", 256));
  tape.append(weight_region("layers.experts", 1920));
  tape.append(weight_region("layers.ffn.up", 128));
  tape.append({.name = "wq", .bytes = 256, .shape = {4, 4, 4}});
  tape.append({.name = "head", .bytes = 400, .shape = {100, 4}});
  const internal::LayerBytes bytes = internal::bytes_by_layer(tape, shape);
  EXPECT_THAT(bytes.layers, ElementsAre(64 + 128 + 64, 64 + 640 + 64, 768, 768));
  EXPECT_THAT(bytes.experts, ElementsAre(0, 640, 640, 640));
  EXPECT_EQ(bytes.rest, 1024U + 448);
  EXPECT_EQ(bytes.largest(), 768U);
}

TEST(BytesByLayer, HasLayersThatTheShapeHasNot) {
  TapePlan tape(TapeKind::weights);
  tape.append(weight_region("blk.2.ffn_up_exps.weight", 128));
  const internal::LayerBytes bytes = internal::bytes_by_layer(tape, {});
  EXPECT_THAT(bytes.layers, ElementsAre(0, 0, 128));
  EXPECT_THAT(bytes.experts, ElementsAre(0, 0, 128));
}

}  // namespace
}  // namespace tapedeck::tests
