#include "tapedeck/base/part_id.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace tapedeck::tests {
namespace {

TEST(PartId, TextLayerLeavesOtherTowersOut) {
  EXPECT_EQ((PartId{.layer = 3}).text_layer(), 3U);
  EXPECT_EQ((PartId{.layer = 3, .tower = Tower::vision}).text_layer(), std::nullopt);
  EXPECT_EQ((PartId{.layer = 0, .tower = Tower::draft}).text_layer(), std::nullopt);
  EXPECT_EQ(PartId{}.text_layer(), std::nullopt);
}

TEST(PartId, PartsBelongToBlocks) {
  EXPECT_EQ(block_of(Part::ffn_norm), LayerBlock::none);
  EXPECT_EQ(block_of(Part::query), LayerBlock::attention);
  EXPECT_EQ(block_of(Part::attention_other), LayerBlock::attention);
  EXPECT_EQ(block_of(Part::gate), LayerBlock::ffn);
  EXPECT_EQ(block_of(Part::gate_up), LayerBlock::ffn);
  EXPECT_EQ(block_of(Part::router), LayerBlock::experts);
  EXPECT_EQ(block_of(Part::expert_other), LayerBlock::experts);
  EXPECT_EQ(block_of(Part::shared_gate), LayerBlock::shared_experts);
  EXPECT_EQ(block_of(Part::convolution), LayerBlock::recurrent);
  EXPECT_EQ(block_of(Part::key_cache), LayerBlock::none);
}

TEST(PartId, ARouterIsNoExpert) {
  EXPECT_FALSE(is_expert(Part::router));
  EXPECT_FALSE(is_expert(Part::shared_up));
  EXPECT_TRUE(is_expert(Part::expert_gate));
  EXPECT_TRUE(is_expert(Part::expert_other));
}

TEST(PartId, NormsAreToldWhereverTheyAre) {
  for (const Part part : {Part::embedding_norm, Part::final_norm, Part::norm, Part::ffn_norm,
                          Part::attention_inner_norm, Part::recurrent_norm}) {
    EXPECT_TRUE(is_norm(part)) << static_cast<int>(part);
  }
  for (const Part part : {Part::other, Part::head, Part::query, Part::latent, Part::convolution}) {
    EXPECT_FALSE(is_norm(part)) << static_cast<int>(part);
  }
}

}  // namespace
}  // namespace tapedeck::tests
