// SPDX-License-Identifier: Apache-2.0
// Buffers of decode steps and of prefills, compared with figures computed by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "plan/refused.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/plan/decode_buffers_plan.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

std::uint64_t bytes_of_region(const TapePlan& plan, const std::string& name) {
  const Region* region = plan.find(name);
  return region == nullptr ? 0 : region->bytes;
}

// The reference table, for Qwen2-1.5B with a batch of 4: q 1536, kv 256, hidden 1536, ffn 8960.
TEST(DecodeBuffers, AreTheTableOfU4) {
  const TapePlan plan = plan_decode_buffers(qwen2_1_5b().shape, {.batch = 4, .int4_weights = true});
  constexpr std::uint64_t kHidden = std::uint64_t{4} * 1536 * 2;
  const std::vector<std::pair<std::string, std::uint64_t>> expected = {
      {"embed_out", kHidden},
      {"norm_out", kHidden},
      {"qkv_out", 4 * (1536 + 2 * 256) * 2},
      {"q_rotated", 4 * 1536 * 2},
      {"k_rotated", 4 * 256 * 2},
      {"rope_q_temp", 4 * 1536 * 2},
      {"rope_k_temp", 4 * 256 * 2},
      {"attn_out", 4 * 1536 * 2},
      {"o_proj_out", kHidden},
      {"residual", kHidden},
      {"post_norm_out", kHidden},
      {"post_norm_residual", kHidden},
      {"gate_up_out", 4 * 2 * 8960 * 2},
      {"mlp_act", 4 * 8960 * 2},
      {"down_out", kHidden},
      {"final_norm_out", kHidden},
      {"logits", 4 * 151936 * 2},
      {"temp_dequant", std::uint64_t{1536} * 2 * 8960 * 2},
      {"scratch_attn", 1536 * 2},
      {"batched_k_ptrs", 4 * 8},
      {"batched_v_ptrs", 4 * 8},
      {"batched_kv_lens", 4 * 4},
      {"batched_positions", 4 * 4},
      {"flash_partial_out", 12 * 32 * 128 * 4},
      {"flash_partial_m", 12 * 32 * 4},
      {"flash_partial_l", 12 * 32 * 4},
  };
  std::uint64_t all = 0;
  for (const auto& [name, bytes] : expected) {
    EXPECT_EQ(bytes_of_region(plan, "decode." + name), bytes) << name;
    all += bytes;
  }
  EXPECT_EQ(plan.regions().size(), expected.size());
  EXPECT_EQ(plan.payload(), all);  // upstream's memory_bytes() omits five of them
  std::uint64_t end = 0;
  for (const Region& region : plan.regions()) {
    EXPECT_GE(region.offset, end) << region.name;
    EXPECT_EQ(region.offset % 256, 0U);
    end = region.offset + region.bytes;
  }
}

TEST(DecodeBuffers, TakeTheElementType) {
  const ModelShape shape = qwen2_1_5b().shape;
  const TapePlan half = plan_decode_buffers(shape, {});
  const TapePlan full = plan_decode_buffers(shape, {.element = DType::f32});
  EXPECT_EQ(bytes_of_region(full, "decode.logits"), 2 * bytes_of_region(half, "decode.logits"));
  EXPECT_EQ(bytes_of_region(full, "decode.batched_k_ptrs"), 8U);
  EXPECT_EQ(half.find("decode.temp_dequant"), nullptr);
}

TEST(DecodeBuffers, AreTheLargestOverTheLayers) {
  const Model model = model_of({attention_layer(4, 4, 64, 100), attention_layer(8, 1, 32, 900)});
  const TapePlan plan = plan_decode_buffers(model.shape, {});
  EXPECT_EQ(bytes_of_region(plan, "decode.q_rotated"), 256 * 2);
  EXPECT_EQ(bytes_of_region(plan, "decode.k_rotated"), 256 * 2);
  EXPECT_EQ(bytes_of_region(plan, "decode.mlp_act"), 900 * 2);
  EXPECT_EQ(bytes_of_region(plan, "decode.flash_partial_out"), 8 * 32 * 64 * 4);
}

TEST(DecodeBuffers, FollowTheLayersKinds) {
  const TapePlan latent = plan_decode_buffers(model_of({latent_layer()}).shape, {});
  EXPECT_EQ(bytes_of_region(latent, "decode.q_rotated"), 16 * 576 * 2);
  EXPECT_EQ(bytes_of_region(latent, "decode.k_rotated"), 576 * 2);
  EXPECT_EQ(bytes_of_region(latent, "decode.qkv_out"), (16 * 576 + 576) * 2);

  LayerShape state = mamba2_layer();
  state.ffn = 0;
  const TapePlan recurrent = plan_decode_buffers(model_of({state}).shape, {});
  EXPECT_EQ(recurrent.find("decode.q_rotated"), nullptr);
  EXPECT_EQ(recurrent.find("decode.mlp_act"), nullptr);
  EXPECT_EQ(bytes_of_region(recurrent, "decode.recurrent_in"), (3072 + 3072 + 2 * 128) * 2);
  EXPECT_EQ(bytes_of_region(recurrent, "decode.recurrent_out"), 3072 * 2);

  LayerShape experts = attention_layer(4, 4, 64, 0);
  experts.experts = 64;
  experts.experts_used = 6;
  experts.expert_ffn = 1408;
  const TapePlan routed = plan_decode_buffers(model_of({experts}).shape, {});
  EXPECT_EQ(bytes_of_region(routed, "decode.gate_up_out"), 2 * 6 * 1408 * 2);
  EXPECT_EQ(bytes_of_region(routed, "decode.router_logits"), 64 * 4);
  EXPECT_EQ(bytes_of_region(routed, "decode.expert_out"), 6 * 512 * 2);
}

TEST(DecodeBuffers, RefuseWhatMakesNoSense) {
  const auto refused_options = [](const DecodeBuffersOptions& options) {
    return refused([&] { return plan_decode_buffers(qwen2_1_5b().shape, options); });
  };
  EXPECT_EQ(refused_options({.batch = 0}), (Refused{"DecodeBuffersOptions::batch", 0, 1}));
  EXPECT_EQ(refused_options({.element = DType::q8_0}), Refused{"DecodeBuffersOptions::element"});
  EXPECT_EQ(refused_options({.batch = std::uint64_t{1} << 60U}),
            (Refused{"DecodeBuffersOptions::batch", std::uint64_t{1} << 60U}));
  EXPECT_EQ(refused_options({.score_columns = std::uint64_t{1} << 62U}),
            (Refused{"DecodeBuffersOptions::score_columns", std::uint64_t{1} << 62U}));
}

TEST(ScratchPlan, DecodeLiesOverPrefill) {
  const Plan plan = make_plan(qwen2_1_5b(), {.decode_batch = 2});
  const Breakdown sums = plan.breakdown();
  EXPECT_EQ(sums.scratch, round_up(std::max(sums.decode, sums.prefill), 64));
  const Region& decode = *plan.scratch.find("decode.logits");
  const Region& prefill = *plan.scratch.find("prefill.residual");
  EXPECT_GE(decode.live.begin, prefill.live.end);
  EXPECT_EQ(decode.bytes, 2 * 151936 * 2);
}

TEST(ScratchPlan, UnpacksInt4WeightsInDecode) {
  EXPECT_EQ(make_plan(qwen2_1_5b()).scratch.find("decode.temp_dequant"), nullptr);
  for (const DType type : {DType::q4_0, DType::q4_k, DType::mxfp4}) {
    const Plan plan = make_plan(qwen2_1_5b(), {.weights_type = type});
    EXPECT_NE(plan.scratch.find("decode.temp_dequant"), nullptr) << to_string(type);
  }
  const Plan eight = make_plan(qwen2_1_5b(), {.weights_type = DType::q8_0});
  EXPECT_EQ(eight.scratch.find("decode.temp_dequant"), nullptr);
}

// With 512 tokens, the peak is in the gated feed-forward part.
TEST(ScratchPlan, PrefillPeaksWhereItShould) {
  const Plan plan = make_plan(qwen2_1_5b(), {.total_context = 4096});
  EXPECT_EQ(plan.peak_stage, "feed-forward");
  const std::uint64_t peak =
      std::uint64_t{512} * 2 * (1536 + 2 * 8960 + 8960);  // residual, gate and up, product
  EXPECT_EQ(plan.prefill_lower_bound, peak);
  EXPECT_EQ(plan.breakdown().prefill, peak);  // packed without a gap

  const Plan scores = make_plan(qwen2_1_5b(), {.total_context = 32768, .flash_attention = false});
  EXPECT_EQ(scores.peak_stage, "attention");
  EXPECT_EQ(scores.scratch.find("prefill.scores")->bytes, std::uint64_t{512} * 12 * 32768 * 4);
  EXPECT_EQ(scores.scratch.find("decode.scores")->bytes, std::uint64_t{12} * 32768 * 4);
  EXPECT_EQ(plan.scratch.find("decode.scores"), nullptr);

  const Plan logits = make_plan(qwen2_1_5b(), {.total_context = 4096, .all_logits = true});
  EXPECT_EQ(logits.peak_stage, "logits");
  EXPECT_EQ(logits.scratch.find("prefill.logits")->bytes, std::uint64_t{512} * 151936 * 2);
}

// In Qwen3-30B-A3B the experts are the peak; placing the largest first would take 1.2 times the
// bound.
TEST(ScratchPlan, PrefillOfExpertsIsPackedWithoutAGap) {
  LayerShape layer = attention_layer(32, 4, 128, 0);
  layer.experts = 128;
  layer.experts_used = 8;
  layer.expert_ffn = 768;
  const Plan plan = make_plan(model_of({layer}, 2048, 151'936));
  EXPECT_EQ(plan.peak_stage, "experts");
  EXPECT_EQ(plan.breakdown().prefill, plan.prefill_lower_bound);
}

TEST(ScratchPlan, ScoresOfWindowsAreAsWideAsTheirCache) {
  const Model model =
      model_of({windowed_layer(attention_layer(4, 4, 64, 128), 512)}, 512, 1000, 32768);
  const Plan plan = make_plan(model, {.flash_attention = false});
  EXPECT_EQ(plan.scratch.find("prefill.scores")->bytes, 512 * 4 * 1024 * 4);
}

// With flash attention the logits head of a large vocabulary is the peak, which is a lower bound
// for every engine that computes all logits: two hidden rows and the logits, in f32, and which rows
// to output.
TEST(LlamaCppScratch, LogitsAreTheFloor) {
  const Plan plan =
      make_plan(qwen2_1_5b(), {.profile = llama_cpp_profile(), .total_context = 4096});
  EXPECT_EQ(plan.peak_stage, "logits");
  EXPECT_EQ(plan.breakdown().prefill,
            std::uint64_t{512} * (151936 + 2 * 1536) * 4 + std::uint64_t{512} * 4);
  EXPECT_EQ(plan.breakdown().decode, 151936 * 4);
}

// The scores of the heads and the mask, in f32.
TEST(LlamaCppScratch, ScoresAreThePeakOfLongContexts) {
  const Plan plan = make_plan(
      qwen2_1_5b(),
      {.profile = llama_cpp_profile(), .total_context = 131072, .flash_attention = false});
  EXPECT_EQ(plan.peak_stage, "attention");
  const std::uint64_t scores = std::uint64_t{512} * 131072 * (12 + 1) * 4;
  EXPECT_GE(plan.breakdown().prefill, scores);
  EXPECT_LE(plan.breakdown().prefill, scores + 64_MiB);
}

// A hostile header may claim any number of layers and experts.
TEST(LlamaCppScratch, ManyLayersAreNoDeepRecursion) {
  const auto prefill = [](const std::vector<LayerShape>& layers) {
    const PlanOptions options = {.profile = llama_cpp_profile(), .micro_batch = 1};
    return make_plan(model_of(layers, 1, 1), options).breakdown().prefill;
  };
  constexpr std::uint64_t kMany = 0xff'ffff;
  EXPECT_GT(prefill(std::vector<LayerShape>(65'536, {.ffn = 1})), 0U);
  EXPECT_GT(prefill({{.experts = kMany, .experts_used = kMany, .expert_ffn = kMany}}), 0U);
}

}  // namespace
}  // namespace tapedeck::tests
