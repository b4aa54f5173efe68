// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/streaming_plan.hpp"
#include "base/most.hpp"

#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "plan/made_tensors.hpp"
#include "plan/streaming_oracle.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint32_t kNoExpert = StreamedPart::kNoExpert;

/// Two layers of 1000 and 2000 bytes, an embedding of 300 and a norm of 10.
Model small_model() {
  return Made(2)
      .tensor("token_embd.weight", 0, {300})
      .tensor("blk.0.w", 320, {1000})
      .tensor("blk.1.w", 1344, {2000})
      .tensor("output_norm.weight", 3360, {10})
      .model();
}

constexpr std::uint64_t kOuter = 512 + 256;
constexpr std::uint64_t kLayersBytes = 1024 + 2048;

/// Returns a plan, after checking everything that must hold for it.
StreamingPlan sound_plan(const Model& model, const StreamingOptions& options = {}) {
  StreamingPlan plan = plan_streaming(model, options);
  expect_sound(model, plan, options);
  return plan;
}

TEST(StreamingPlan, IsOuterTensorsAndSlots) {
  const StreamingPlan plan = sound_plan(small_model());
  ASSERT_EQ(plan.layers.size(), 2U);
  EXPECT_EQ(plan.outer.size(), 2U);
  EXPECT_EQ(plan.resident_layers(), 0U);
  EXPECT_EQ(plan.slots, 2U);
  EXPECT_EQ(plan.slot_bytes(), 2048U);
  EXPECT_EQ(plan.token_bytes, 3000U);
  EXPECT_EQ(plan.one_slot_bytes, kOuter + 2048);
  EXPECT_EQ(plan.device.bytes(), kOuter + 4096);
  EXPECT_EQ(plan.device.find("token_embd.weight")->shape, (std::vector<std::uint64_t>{300}));
  EXPECT_EQ(plan.staging.payload(), 32_MiB);
}

TEST(StreamingPlan, AsManyLayersStayAsFit) {
  const auto resident = [](std::uint64_t bytes) {
    const StreamingPlan plan = sound_plan(small_model(), {.slots = 1, .device_bytes = bytes});
    EXPECT_LE(plan.device.bytes(), bytes);
    return plan.resident_layers();
  };
  EXPECT_EQ(resident(kOuter + 2048), 0U);
  EXPECT_EQ(resident(kOuter + kLayersBytes - 1), 0U);
  // This is enough for one layer and a slot for the other, so the other can stay as well.
  EXPECT_EQ(resident(kOuter + kLayersBytes), 2U);
  EXPECT_EQ(refused_streaming(small_model(), {.slots = 1, .device_bytes = kOuter + 2047}),
            (Refused{"StreamingOptions::device_bytes", kOuter + 2047, kOuter + 2048}));
}

TEST(StreamingPlan, WhereEverythingStaysThereAreNoSlots) {
  const StreamingPlan plan = sound_plan(small_model(), {.device_bytes = kMost});
  EXPECT_EQ(plan.slots, 0U);
  EXPECT_EQ(plan.slot_bytes(), 0U);
  EXPECT_EQ(plan.token_bytes, 0U);
  EXPECT_EQ(plan.device.bytes(), kOuter + kLayersBytes);
  EXPECT_EQ(plan.device.find("slot.0"), nullptr);
}

// If a large first layer stays, the slots are small, so streaming with it takes less memory than
// without.
TEST(StreamingPlan, SlotsAreOfTheLayersThatTakeTurns) {
  const Model model = Made(4)
                          .tensor("blk.0.w", 0, {10'240})
                          .tensor("blk.1.w", 10'240, {256})
                          .tensor("blk.2.w", 10'496, {256})
                          .tensor("blk.3.w", 10'752, {256})
                          .model();
  EXPECT_EQ(plan_streaming(model).device.bytes(), 2 * 10'240U);
  constexpr std::uint64_t kLeast = 10'240 + 2 * 256;
  const StreamingPlan plan = sound_plan(model, {.device_bytes = kLeast});
  EXPECT_EQ(plan.resident_layers(), 1U);
  EXPECT_EQ(plan.slot_bytes(), 256U);
  EXPECT_EQ(plan.token_bytes, 3 * 256U);
  EXPECT_EQ(refused_streaming(model, {.device_bytes = kLeast - 1}),
            (Refused{"StreamingOptions::device_bytes", kLeast - 1, kLeast}));
}

TEST(StreamingPlan, ARunGoesOnOverAGapOfFourKibibytesAtMost) {
  const auto second = [](std::uint64_t from) {
    return sound_plan(Made(1).tensor("blk.0.a", 0, {160}).tensor("blk.0.b", from, {160}).model())
        .layers[0]
        .parts[1]
        .offset;
  };
  EXPECT_EQ(second(160 + 4096), 160 + 4096U);
  EXPECT_EQ(second(160 + 4112), 256U);
  EXPECT_EQ(second(16), 256U);  // overlaps the first
  const Model files =
      Made(1).tensor("blk.0.a", 0, {160}).file().tensor("blk.0.b", 160, {160}).model();
  EXPECT_EQ(sound_plan(files).layers[0].parts[1].offset, 256U);
}

TEST(StreamingPlan, TensorsOfNoBytesAreLeftOut) {
  const Model model = Made(1)
                          .tensor("blk.0.a", 0, {0, 5})
                          .tensor("blk.0.b", 0, {16})
                          .tensor("output.weight", 16, {0})
                          .model();
  const StreamingPlan plan = sound_plan(model);
  EXPECT_EQ(plan.layers[0].parts.size(), 1U);
  EXPECT_THAT(plan.outer, IsEmpty());
}

TEST(StreamingPlan, StackedExpertsAreCut) {
  const Model model = Made(2, 4, 1)
                          .tensor("blk.0.ffn_gate_inp.weight", 0, {4, 16})
                          .tensor("blk.0.ffn_up_exps.weight", 64, {4, 8, 32})
                          .tensor("blk.0.ffn_up_shexp.weight", 1088, {4, 8, 32})
                          .tensor("blk.0.ffn_norm_exps.weight", 2112, {4})    // one-dimensional
                          .tensor("blk.1.ffn_up_exps.weight", 2144, {3, 32})  // another count
                          .model();
  const StreamingPlan plan = sound_plan(model);
  const std::vector<StreamedPart>& parts = plan.layers[0].parts;
  ASSERT_EQ(parts.size(), 1U + 4 + 1 + 1);
  for (std::uint32_t expert = 0; expert < 4; ++expert) {
    EXPECT_EQ(parts[1 + expert].expert, expert);
    EXPECT_EQ(parts[1 + expert].from, expert * 256);
    EXPECT_EQ(parts[1 + expert].bytes, 256U);
  }
  for (const std::size_t shared : {0U, 5U, 6U}) EXPECT_EQ(parts[shared].expert, kNoExpert);
  EXPECT_EQ(plan.layers[0].experts, 4U);
  EXPECT_EQ(plan.layers[1].experts, 0U);
  EXPECT_EQ(plan.token_bytes, 64 + 256 + 1024 + 4 + 96U);
}

TEST(StreamingPlan, ExpertsAreToldByNumber) {
  const Model model = Made(1, 4, 3)
                          .tensor("model.layers.0.mlp.experts.2.up_proj.weight", 0, {100})
                          .tensor("model.layers.0.mlp.experts.0.up_proj.weight", 112, {100})
                          .tensor("model.layers.0.mlp.experts.4.up_proj.weight", 224, {7})
                          .tensor("model.layers.0.mlp.shared_experts.up_proj.weight", 240, {30})
                          .tensor("model.layers.0.mlp.experts.x.up_proj.weight", 272, {3})
                          .tensor("model.layers.0.mlp.gate.weight", 288, {4, 5})
                          .model();
  const StreamingPlan plan = sound_plan(model);
  std::vector<std::uint32_t> experts;
  for (const StreamedPart& part : plan.layers[0].parts) experts.push_back(part.expert);
  EXPECT_THAT(experts, ElementsAre(2, 0, kNoExpert, kNoExpert, kNoExpert, kNoExpert));
  // Only two of the three experts that a token uses exist.
  EXPECT_EQ(plan.token_bytes, 200 + 7 + 30 + 3 + 20U);
}

TEST(StreamingPlan, ExpertsThatTheShapeDoesNotKnowAreNone) {
  const auto experts_of = [](std::uint64_t experts, std::uint64_t used, std::size_t layers = 1) {
    const StreamingPlan plan = plan_streaming(
        Made(layers, experts, used).tensor("blk.0.ffn_up_exps.weight", 0, {4, 16}).model());
    return std::pair(plan.layers[0].experts, plan.token_bytes);
  };
  EXPECT_EQ(experts_of(0, 0), std::pair(0UL, 64UL));
  EXPECT_EQ(experts_of(4, 1, 0), std::pair(0UL, 64UL));  // a layer that the shape lacks
  EXPECT_EQ(experts_of(4, 0), std::pair(4UL, 64UL));     // the number used is not stated, so all
  EXPECT_EQ(experts_of(4, 2), std::pair(4UL, 32UL));
  EXPECT_EQ(experts_of(kMost, 2), std::pair(0UL, 64UL));
  // In 32 bits, its number would become a different one.
  const StreamingPlan plan = sound_plan(
      Made(1, kMost, 2).tensor("model.layers.0.mlp.experts.4294967296.w", 0, {64}).model());
  EXPECT_EQ(plan.layers[0].parts[0].expert, kNoExpert);
  EXPECT_EQ(plan.token_bytes, 64U);
}

TEST(StreamingPlan, StagingBuffersBeginOnPages) {
  const StreamingPlan plan =
      sound_plan(small_model(), {.staging_buffer = 5000, .staging_buffers = 3});
  EXPECT_EQ(plan.staging.bytes(), 2 * 8192 + 5056U);
}

// A header of a few bytes must not be able to request any number of parts.
TEST(StreamingPlan, MoreExpertsThanAnyModelHasAreRefused) {
  constexpr std::uint64_t kExperts = std::uint64_t{1} << 20;
  const auto with = [](std::uint64_t experts, std::uint64_t tensors) {
    Made made(1, experts, 2);
    for (std::uint64_t i = 0; i < tensors; ++i) {
      made.tensor("blk.0.up" + std::to_string(i) + "_exps.weight", i * experts * 16, {experts, 16});
    }
    return refused_streaming(made.model());
  };
  EXPECT_EQ(with(kExperts, 1), Refused{});
  EXPECT_EQ(with(kExperts + 1, 1), (Refused{"LayerShape::experts", kExperts + 1, kExperts}));
  EXPECT_EQ(with(kExperts / 2, 3), (Refused{"LayerShape::experts", kExperts * 3 / 2, kExperts}));
}

TEST(StreamingPlan, Llama2cTensorsAreCutIntoLayers) {
  // As many rows of the vocabulary and of angles as there are layers, so only names distinguish
  // them.
  const Model model = Made(2)
                          .tensor("token_embedding_table", 28, {2, 8})
                          .tensor("rms_att_weight", 44, {2, 8})
                          .tensor("wq", 60, {2, 8, 8})
                          .tensor("rms_final_weight", 188, {8})
                          .tensor("freq_cis_real", 196, {2, 8})
                          .tensor("freq_cis_imag", 212, {2, 8})
                          .tensor("wcls", 228, {2, 8})
                          .model(ModelFormat::llama2c);
  const StreamingPlan plan = sound_plan(model);
  ASSERT_EQ(plan.layers.size(), 2U);
  EXPECT_EQ(plan.outer.size(), 5U);
  for (std::uint64_t i = 0; i < 2; ++i) {
    ASSERT_EQ(plan.layers[i].parts.size(), 2U);
    EXPECT_EQ(plan.layers[i].parts[0].from, i * 8);
    EXPECT_EQ(plan.layers[i].parts[1].from, i * 64);
  }
  EXPECT_EQ(plan.token_bytes, 2 * (8 + 64U));
}

TEST(StreamingPlan, LayersOfOtherTowersAreInNoSlot) {
  Made made(2);
  for (const char* layer : {"0", "1"}) {
    made.tensor("model.language_model.layers." + std::string(layer) + ".mlp.up_proj.weight", 0,
                {64});
    made.tensor("model.visual.blocks." + std::string(layer) + ".mlp.linear_fc1.weight", 0, {1024});
    made.tensor("mtp.layers." + std::string(layer) + ".mlp.up_proj.weight", 0, {512});
  }
  const StreamingPlan plan = sound_plan(made.model());
  EXPECT_EQ(plan.layers.size(), 2U);
  EXPECT_EQ(plan.slot_bytes(), 256U);
  EXPECT_EQ(plan.outer.size(), 4U);
}

TEST(StreamingPlan, RefusesWhatMakesNoSense) {
  constexpr std::uint64_t kBuffers = 65'536;
  const std::pair<StreamingOptions, Refused> options[] = {
      {{.slots = 0}, {"StreamingOptions::slots", 0, 1}},
      {{.slots = kBuffers + 1}, {"StreamingOptions::slots", kBuffers + 1, kBuffers}},
      {{.staging_buffers = 0}, {"StreamingOptions::staging_buffers", 0, 1}},
      {{.staging_buffers = kBuffers + 1},
       {"StreamingOptions::staging_buffers", kBuffers + 1, kBuffers}},
      {{.staging_buffer = 0}, {"StreamingOptions::staging_buffer", 0, 1}},
      {{.staging_buffer = kMost}, {"Region::bytes", kMost}},
      {{.staging_buffer = kMost / 2}, {"Region::bytes", kMost / 2}},
  };
  for (const auto& [asked, why] : options) EXPECT_EQ(refused_streaming(small_model(), asked), why);
  EXPECT_EQ(refused_streaming({}), Refused{"Model::tensors"});
  EXPECT_EQ(refused_streaming(Made().tensor("output.weight", 0, {10}).model()),
            Refused{"Model::tensors"});
}

TEST(StreamingPlan, WhatDoesNotFitIn64BitsIsRefused) {
  const std::uint64_t half = kMost / 2;
  const Model slots = Made(1).tensor("blk.0.w", 0, {half}).model();
  EXPECT_EQ(refused_streaming(slots, {.slots = 3}), (Refused{"Region::bytes", half + 1}));
  for (const Model& model :
       {Made(1).tensor("blk.0.w", 0, {kMost - 100}).model(),
        Made(1).tensor("blk.0.v", 0, {half}).tensor("blk.0.w", half, {half}).model(),
        Made(1).tensor("blk.0.w", 0, {1}).tensor("w", 1, {kMost - 100}).model()}) {
    EXPECT_EQ(refused_streaming(model), kTooLarge);
  }
}

}  // namespace
}  // namespace tapedeck::tests
