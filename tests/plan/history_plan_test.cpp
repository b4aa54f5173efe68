// SPDX-License-Identifier: Apache-2.0
// Caches and states, compared with figures computed by hand.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plan/refused.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

Breakdown breakdown_of(const Model& model, const PlanOptions& options = {}) {
  return make_plan(model, options).breakdown();
}

Refused refused_plan(const Model& model, const PlanOptions& options) {
  return refused([&] { return make_plan(model, options); });
}

/// K and V of 4 heads of size 64 in f16.
Model four_heads() { return model_of({attention_layer(4, 4, 64, 128)}); }
constexpr std::uint64_t kRow = std::uint64_t{2} * 4 * 64 * 2;

TEST(HistoryPlan, IsKAndVOfEachLayer) {
  const Model model = model_of(std::vector<LayerShape>(32, attention_layer(32, 8, 128, 14336)));
  const Plan plan = make_plan(model, {.total_context = 8192});
  EXPECT_EQ(plan.breakdown().kv, 1_GiB);  // Llama 8B
  ASSERT_EQ(plan.history.regions().size(), 64U);
  const Region& k = *plan.history.find("layers.31.k");
  EXPECT_EQ(k.bytes, 16_MiB);
  EXPECT_EQ(k.shape, (std::vector<std::uint64_t>{8192, 1024}));
  EXPECT_EQ(k.growth, (Growth{2048, 8192}));
  EXPECT_EQ(k.alignment, 4096U);
  EXPECT_NE(plan.history.find("layers.31.v"), nullptr);
  // Qwen3-30B-A3B, as printed by the engine: 32 heads of 128 in a hidden row of 2048.
  const std::vector<LayerShape> qwen3(48, attention_layer(32, 4, 128, 6144));
  EXPECT_EQ(breakdown_of(model_of(qwen3, 2048, 151936, 4096)).kv, 384_MiB);
}

TEST(HistoryPlan, RoundsContextToCells) {
  const auto cells = [](std::uint64_t context, std::uint64_t rounding = 256) {
    return breakdown_of(four_heads(), {.total_context = context, .cell_rounding = rounding}).kv /
           kRow;
  };
  EXPECT_EQ(cells(1), 256U);
  EXPECT_EQ(cells(255), 256U);
  EXPECT_EQ(cells(256), 256U);
  EXPECT_EQ(cells(257), 512U);
  EXPECT_EQ(cells(257, 1), 257U);
  EXPECT_EQ(cells(257, 100), 300U);
}

TEST(HistoryPlan, SplitsContextOverStreams) {
  const Plan streams = make_plan(four_heads(), {.total_context = 5000, .sequences = 3});
  EXPECT_EQ(streams.talks, 3U);
  EXPECT_EQ(streams.context_per_talk, 1667U);
  EXPECT_EQ(streams.history.payload(), 1792 * kRow);
  EXPECT_EQ(streams.breakdown().kv, std::uint64_t{3} * 1792 * kRow);
  const Plan unified =
      make_plan(four_heads(), {.total_context = 5000, .sequences = 3, .unified = true});
  EXPECT_EQ(unified.talks, 1U);
  EXPECT_EQ(unified.breakdown().kv, 5120 * kRow);
}

TEST(HistoryPlan, TakesTypesAndWidthsOfKAndVApart) {
  const std::uint64_t elements = std::uint64_t{4096} * 4 * 64;
  EXPECT_EQ(breakdown_of(four_heads(), {.key_type = DType::q8_0}).kv,
            elements * 34 / 32 + elements * 2);
  EXPECT_EQ(breakdown_of(four_heads(), {.key_type = DType::f32, .value_type = DType::q4_0}).kv,
            elements * 4 + elements * 18 / 32);
  EXPECT_EQ(breakdown_of(four_heads(), {.key_type = DType::i8, .value_type = DType::f8_e4m3}).kv,
            elements * 2);
  LayerShape layer = attention_layer(64, 4, 192, 128);
  layer.value_dim = 128;
  EXPECT_EQ(breakdown_of(model_of({layer})).kv, 4096 * 4 * (192 + 128) * 2);
}

TEST(HistoryPlan, WindowHoldsWindowAndMicroBatch) {
  Model model = model_of({windowed_layer(attention_layer(4, 1, 256, 128), 512)}, 512, 1000, 32768);
  const auto rows = [&](const PlanOptions& options) {
    EXPECT_EQ(breakdown_of(model, options).kv, 0U);
    return breakdown_of(model, options).window / 1024;  // K and V in f16
  };
  EXPECT_EQ(rows({}), 1024U);
  EXPECT_EQ(rows({.micro_batch = 2048}), 2560U);
  // The micro-batch counts, not the batch that it is a part of; and it never exceeds the batch.
  EXPECT_EQ(rows({.batch = 4096}), 1024U);
  EXPECT_EQ(rows({.batch = 256}), 768U);
  EXPECT_EQ(rows({.full_window_cache = true}), 32768U);
  EXPECT_EQ(rows({.total_context = 700}), 768U);  // never more than the context
  EXPECT_EQ(rows({.total_context = 8192, .sequences = 4}), 4 * 1024U);
  EXPECT_EQ(rows({.total_context = 8192, .sequences = 4, .unified = true}), 2560U);
  EXPECT_EQ(rows({.profile = llama_cpp_profile()}), 1024U);
  // A chunk is a window.
  model.shape.layers[0].attention = Attention::chunked;
  model.shape.layers[0].window = 8192;
  EXPECT_EQ(rows({}), 8192 + 512U);
  // A config describes its own library; llama.cpp keeps every token of such a model.
  model.shape.windowless_engine = true;
  EXPECT_EQ(rows({}), 8192 + 512U);
  EXPECT_EQ(breakdown_of(model, {.profile = llama_cpp_profile()}).kv, 32768 * 2 * 256 * 2);
  EXPECT_EQ(breakdown_of(model, {.profile = llama_cpp_profile()}).window, 0U);
}

// The heads of MLA before absorption do not affect the cache.
TEST(HistoryPlan, LatentCacheIsOneRowAndTheIndexersBesideIt) {
  std::vector<LayerShape> layers(27, latent_layer());
  layers[0].indexer_dim = 128;
  const Plan plan = make_plan(model_of(layers, 2048, 102400, 4096));
  EXPECT_EQ(plan.history.find("layers.0.indexer")->bytes, 4096 * 128 * 2);
  EXPECT_EQ(plan.breakdown().kv, 4096 * (27 * 576 + 128) * 2);
  EXPECT_EQ(plan.history.find("layers.0.v"), nullptr);
  EXPECT_EQ(plan.history.regions().size(), 28U);
}

TEST(HistoryPlan, CompressedRowsAreSharedByTokens) {
  LayerShape layer = attention_layer(64, 1, 512, 128);
  layer.value_dim = 0;
  layer.compress_ratio = 128;
  const Plan plan = make_plan(model_of({layer}), {});
  EXPECT_EQ(plan.breakdown().kv, 4096 / 128 * 512 * 2);
  EXPECT_EQ(plan.history.find("layers.0.k")->growth, Growth{});
  layer.compress_ratio = 3;  // a partial row counts as a row
  EXPECT_EQ(breakdown_of(model_of({layer})).kv, 1366 * 512 * 2);
}

TEST(HistoryPlan, SharedCachesAreOwnedOnce) {
  std::vector<LayerShape> layers(10, attention_layer(4, 2, 64, 128));
  for (std::size_t i = 6; i < 10; ++i) layers[i].shares_cache = true;
  const Plan plan = make_plan(model_of(layers), {});
  EXPECT_EQ(plan.breakdown().kv, 6 * 4096 * 2 * 2 * 64 * 2);
  EXPECT_EQ(plan.history.find("layers.6.k"), nullptr);
}

// Each layer of a hybrid is charged only for what it has.
TEST(HistoryPlan, StatesAreF32PerSequence) {
  const Model model = model_of({mamba2_layer(), attention_layer(4, 4, 64, 128)});
  const std::uint64_t state = (std::uint64_t{3} * (3072 + 2 * 128) + std::uint64_t{3072} * 128) * 4;
  EXPECT_EQ(breakdown_of(model).recurrent, state);
  EXPECT_EQ(breakdown_of(model).kv, 4096 * kRow);
  EXPECT_EQ(breakdown_of(model, {.sequences = 4}).recurrent, 4 * state);
  EXPECT_EQ(breakdown_of(model, {.rollback_states = 2}).recurrent, 3 * state);
  // In this case one talk holds the states of all sequences.
  const Plan unified = make_plan(model, {.sequences = 4, .unified = true});
  EXPECT_EQ(unified.history.payload(RegionRole::recurrent), 4 * state);
  EXPECT_EQ(unified.breakdown().recurrent, 4 * state);
  // After the caches, so that the caches do not share their pages.
  std::vector<std::string> names;
  for (const Region& region : unified.history.regions()) names.push_back(region.name);
  EXPECT_EQ(names, (std::vector<std::string>{"layers.1.k", "layers.1.v", "layers.0.conv",
                                             "layers.0.state"}));
}

TEST(HistoryPlan, EncodersHaveNone) {
  Model model = model_of({attention_layer(12, 12, 64, 3072)}, 768, 30522, 512);
  model.shape.encoder = true;
  EXPECT_EQ(breakdown_of(model).history, 0U);
}

// In this case the engine stores V transposed, with rows of the same width.
TEST(HistoryPlan, LlamaCppPadsVWithoutFlashAttention) {
  const PlanOptions flash = {.profile = llama_cpp_profile()};
  const PlanOptions padded = {.profile = llama_cpp_profile(), .flash_attention = false};
  const Model narrow = model_of({attention_layer(8, 8, 64, 128), attention_layer(8, 2, 64, 128)});
  const auto bytes_of = [&](const char* region, const PlanOptions& options) {
    return make_plan(narrow, options).history.find(region)->bytes;
  };
  EXPECT_EQ(bytes_of("layers.1.v", padded), 4096 * 512 * 2);
  EXPECT_EQ(bytes_of("layers.1.k", padded), 4096 * 128 * 2);
  EXPECT_EQ(bytes_of("layers.1.v", flash), 4096 * 128 * 2);
  EXPECT_EQ(bytes_of("layers.1.v", {.flash_attention = false}), 4096 * 128 * 2);
  // Deci: the engine pads the tensor of a layer that keeps nothing like the others.
  const LayerShape none = {.ffn = 128};
  const Model gap = model_of({attention_layer(8, 8, 64, 128), none});
  EXPECT_EQ(breakdown_of(gap, padded).kv, 4096 * (512 + 512 + 512) * 2);
  EXPECT_EQ(make_plan(gap, padded).history.find("layers.1.k"), nullptr);
  EXPECT_EQ(breakdown_of(gap, flash).kv, 4096 * (512 + 512) * 2);
  // A hybrid's cache contains only the layers with attention.
  const Model hybrid = model_of({attention_layer(8, 8, 64, 128), none, mamba2_layer()});
  EXPECT_EQ(breakdown_of(hybrid, padded).kv, 4096 * (512 + 512) * 2);
}

TEST(HistoryPlan, RefusesTypesThatACacheCannotHave) {
  const Profile engine = llama_cpp_profile();
  EXPECT_EQ(refused_plan(four_heads(), {.key_type = DType::q4_k}),
            Refused{"PlanOptions::key_type"});
  EXPECT_EQ(refused_plan(four_heads(), {.value_type = DType::i32}),
            Refused{"PlanOptions::value_type"});
  EXPECT_EQ(refused_plan(four_heads(), {.key_type = DType::f8_e4m3}), Refused{});
  EXPECT_EQ(refused_plan(four_heads(), {.profile = engine, .key_type = DType::f8_e4m3}),
            Refused{"PlanOptions::key_type"});
  EXPECT_EQ(refused_plan(four_heads(), {.profile = engine, .value_type = DType::i8}),
            Refused{"PlanOptions::value_type"});
  // The engine supports a quantized V only with flash attention.
  PlanOptions options = {.profile = engine, .value_type = DType::q8_0, .flash_attention = false};
  EXPECT_EQ(refused_plan(four_heads(), options), Refused{"PlanOptions::flash_attention"});
  options.profile = native_profile();
  EXPECT_EQ(refused_plan(four_heads(), options), Refused{});
}

TEST(HistoryPlan, RefusesTypesThatDoNotDivideTheRows) {
  const Model narrow = model_of({attention_layer(4, 4, 64, 128), attention_layer(4, 1, 80, 128)});
  EXPECT_EQ(refused_plan(narrow, {.key_type = DType::q8_0}), (Refused{"layers.1.k", 80}));
  EXPECT_EQ(refused_plan(narrow, {.value_type = DType::q5_0}), (Refused{"layers.1.v", 80}));
  // A row of 320 elements is divisible, but heads of 80 are not, and the engine works per head.
  const Model wide = model_of({attention_layer(4, 4, 80, 128)});
  EXPECT_EQ(refused_plan(wide, {.key_type = DType::q8_0}), Refused{});
  EXPECT_EQ(refused_plan(wide, {.profile = llama_cpp_profile(), .key_type = DType::q8_0}),
            (Refused{"layers.0.k", 80}));
}

TEST(HistoryPlan, OverflowIsAnError) {
  const std::uint64_t large = std::uint64_t{1} << 40U;
  EXPECT_EQ(refused_plan(model_of({attention_layer(1, large, 64, 1)}), {.total_context = large}),
            (Refused{"PlanOptions::total_context", large}));
  EXPECT_EQ(refused_plan(four_heads(), {.total_context = std::uint64_t{0} - 1}),
            (Refused{"PlanOptions::total_context", std::uint64_t{0} - 1}));
  LayerShape state = mamba2_layer();
  state.state = std::uint64_t{1} << 62U;
  EXPECT_EQ(refused_plan(model_of({state}), {}), kTooLarge);
}

}  // namespace
}  // namespace tapedeck::tests
