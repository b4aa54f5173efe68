// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/part_id.hpp"

#include <gtest/gtest.h>

namespace tapedeck::tests {
namespace {

static_assert(PartId{.layer = 3}.text_layer() == 3);
static_assert(!PartId{.layer = 3, .tower = Tower::vision}.text_layer());
static_assert(!PartId{.layer = 0, .tower = Tower::draft}.text_layer());
static_assert(!PartId{}.text_layer());

static_assert(block_of(Part::ffn_norm) == LayerBlock::none);
static_assert(block_of(Part::query) == LayerBlock::attention);
static_assert(block_of(Part::attention_other) == LayerBlock::attention);
static_assert(block_of(Part::gate) == LayerBlock::ffn);
static_assert(block_of(Part::gate_up) == LayerBlock::ffn);
static_assert(block_of(Part::router) == LayerBlock::experts);
static_assert(block_of(Part::expert_other) == LayerBlock::experts);
static_assert(block_of(Part::shared_gate) == LayerBlock::shared_experts);
static_assert(block_of(Part::convolution) == LayerBlock::recurrent);
static_assert(block_of(Part::key_cache) == LayerBlock::none);

static_assert(!is_expert(Part::router) && !is_expert(Part::shared_up));
static_assert(is_expert(Part::expert_gate) && is_expert(Part::expert_other));

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
