// Caches and states, by figures worked out by hand.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

Breakdown of(const Model& model, const PlanOptions& options) {
  return make_plan(model, options).breakdown();
}

/// The argument that is refused.
std::string refusal(const Model& model, const PlanOptions& options) {
  try {
    static_cast<void>(make_plan(model, options));
  } catch (const InvalidArgument& error) {
    return error.argument();
  }
  return "accepted";
}

TEST(HistoryPlan, OfLlama8BAt8KIsOneGiB) {
  const Model model = model_of(std::vector<LayerShape>(32, attention_layer(32, 8, 128, 14336)));
  const Plan plan = make_plan(model, {.total_context = 8192});
  EXPECT_EQ(plan.breakdown().kv, 1_GiB);
  ASSERT_EQ(plan.history.regions().size(), 64U);
  const Region& k = *plan.history.find("layers.31.k");
  EXPECT_EQ(k.bytes, 16_MiB);
  EXPECT_EQ(k.shape, (std::vector<std::uint64_t>{8192, 1024}));
  EXPECT_EQ(k.growth, (Growth{2048, 8192}));
  EXPECT_EQ(k.alignment, 4096U);
  EXPECT_NE(plan.history.find("layers.31.v"), nullptr);
}

TEST(HistoryPlan, RoundsContextToCells) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  const std::uint64_t row = std::uint64_t{2} * 4 * 64 * 2;  // K and V
  EXPECT_EQ(of(model, {.total_context = 1}).kv, 256 * row);
  EXPECT_EQ(of(model, {.total_context = 255}).kv, 256 * row);
  EXPECT_EQ(of(model, {.total_context = 256}).kv, 256 * row);
  EXPECT_EQ(of(model, {.total_context = 257}).kv, 512 * row);
  EXPECT_EQ(of(model, {.total_context = 257, .cell_rounding = 1}).kv, 257 * row);
  EXPECT_EQ(of(model, {.total_context = 257, .cell_rounding = 100}).kv, 300 * row);
}

TEST(HistoryPlan, SplitsContextOverStreams) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  const std::uint64_t row = std::uint64_t{2} * 4 * 64 * 2;
  const Plan streams = make_plan(model, {.total_context = 5000, .sequences = 3});
  EXPECT_EQ(streams.talks, 3U);
  EXPECT_EQ(streams.context_per_talk, 1667U);
  EXPECT_EQ(streams.history.payload(), 1792 * row);
  EXPECT_EQ(streams.breakdown().kv, std::uint64_t{3} * 1792 * row);
  const Plan unified = make_plan(model, {.total_context = 5000, .sequences = 3, .unified = true});
  EXPECT_EQ(unified.talks, 1U);
  EXPECT_EQ(unified.breakdown().kv, 5120 * row);
}

TEST(HistoryPlan, TakesTypesOfKAndVApart) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  const std::uint64_t elements = std::uint64_t{4096} * 4 * 64;
  EXPECT_EQ(of(model, {.key_type = DType::q8_0}).kv, elements * 34 / 32 + elements * 2);
  EXPECT_EQ(of(model, {.key_type = DType::f32, .value_type = DType::q4_0}).kv,
            elements * 4 + elements * 18 / 32);
  EXPECT_EQ(of(model, {.key_type = DType::i8, .value_type = DType::f8_e4m3}).kv, elements * 2);
}

TEST(HistoryPlan, WindowHoldsWindowAndMicroBatch) {
  const Model model =
      model_of({windowed_layer(attention_layer(4, 1, 256, 128), 512)}, 512, 1000, 32768);
  const std::uint64_t row = std::uint64_t{2} * 256 * 2;
  EXPECT_EQ(of(model, {}).window, 1024 * row);
  EXPECT_EQ(of(model, {}).kv, 0U);
  EXPECT_EQ(of(model, {.micro_batch = 2048}).window, 2560 * row);
  // Not the batch, of which a micro-batch is a part; and never more than the batch.
  EXPECT_EQ(of(model, {.batch = 4096}).window, 1024 * row);
  EXPECT_EQ(of(model, {.batch = 256}).window, 768 * row);
  EXPECT_EQ(of(model, {.full_window_cache = true}).window, 32768 * row);
  EXPECT_EQ(of(model, {.total_context = 700}).window, 768 * row);  // never more than the context
  EXPECT_EQ(of(model, {.total_context = 8192, .sequences = 4}).window,
            std::uint64_t{4} * 1024 * row);
  EXPECT_EQ(of(model, {.total_context = 8192, .sequences = 4, .unified = true}).window, 2560 * row);
}

// A config says what its library does; llama.cpp keeps every token of such a model.
TEST(HistoryPlan, SomeWindowsAreNotTheEngines) {
  Model model = model_of({windowed_layer(attention_layer(4, 1, 256, 128), 512)}, 512, 1000, 32768);
  const std::uint64_t row = std::uint64_t{2} * 256 * 2;
  const PlanOptions engine = {.profile = llama_cpp_profile()};
  model.shape.windowless_engine = true;
  EXPECT_EQ(of(model, engine).kv, 32768 * row);
  EXPECT_EQ(of(model, engine).window, 0U);
  EXPECT_EQ(of(model, {}).window, 1024 * row);
  model.shape.windowless_engine = false;
  EXPECT_EQ(of(model, engine).window, 1024 * row);
  EXPECT_EQ(of(model, engine).kv, 0U);
}

TEST(HistoryPlan, ChunksActAsWindows) {
  Model model =
      model_of({windowed_layer(attention_layer(4, 1, 256, 128), 8192)}, 512, 1000, 131072);
  model.shape.layers[0].attention = Attention::chunked;
  EXPECT_EQ(of(model, {}).window, (8192 + 512) * 2 * 256 * 2);
}

TEST(HistoryPlan, LatentCacheIsOneRow) {
  const Model model = model_of(std::vector<LayerShape>(27, latent_layer()), 2048, 102400, 4096);
  const Plan plan = make_plan(model, {});
  EXPECT_EQ(plan.breakdown().kv, 27 * 4096 * 576 * 2);
  EXPECT_EQ(plan.history.find("layers.0.v"), nullptr);
}

TEST(HistoryPlan, IndexerKeysAreBesideTheLatentRow) {
  LayerShape layer = latent_layer();
  layer.indexer_dim = 128;
  const Plan plan = make_plan(model_of({layer}), {});
  EXPECT_EQ(plan.history.find("layers.0.indexer")->bytes, 4096 * 128 * 2);
  EXPECT_EQ(plan.breakdown().kv, 4096 * (576 + 128) * 2);
}

TEST(HistoryPlan, CompressedRowsAreSharedByTokens) {
  LayerShape layer = attention_layer(64, 1, 512, 128);
  layer.value_dim = 0;
  layer.compress_ratio = 128;
  const Plan plan = make_plan(model_of({layer}), {});
  EXPECT_EQ(plan.breakdown().kv, 4096 / 128 * 512 * 2);
  EXPECT_EQ(plan.history.find("layers.0.k")->growth, Growth{});
  layer.compress_ratio = 3;  // a row that is not full is a row
  EXPECT_EQ(of(model_of({layer}), {}).kv, 1366 * 512 * 2);
}

TEST(HistoryPlan, SharedCachesAreOwnedOnce) {
  std::vector<LayerShape> layers(10, attention_layer(4, 2, 64, 128));
  for (std::size_t i = 6; i < 10; ++i) layers[i].shares_cache = true;
  const Plan plan = make_plan(model_of(layers), {});
  EXPECT_EQ(plan.breakdown().kv, 6 * 4096 * 2 * 2 * 64 * 2);
  EXPECT_EQ(plan.history.find("layers.6.k"), nullptr);
}

TEST(HistoryPlan, StatesAreF32PerSequence) {
  const Model model = model_of({mamba2_layer(), attention_layer(4, 4, 64, 128)});
  const std::uint64_t state = (std::uint64_t{3} * (3072 + 2 * 128) + std::uint64_t{3072} * 128) * 4;
  EXPECT_EQ(of(model, {}).recurrent, state);
  EXPECT_EQ(of(model, {.sequences = 4}).recurrent, 4 * state);
  EXPECT_EQ(of(model, {.rollback_states = 2}).recurrent, 3 * state);
  // One talk holds the states of all sequences then.
  const Plan unified = make_plan(model, {.sequences = 4, .unified = true});
  EXPECT_EQ(unified.history.payload(RegionRole::recurrent), 4 * state);
  EXPECT_EQ(unified.breakdown().recurrent, 4 * state);
  // Behind the caches, so that those keep their pages to themselves.
  EXPECT_GT(unified.history.find("layers.0.conv")->offset,
            unified.history.find("layers.1.v")->offset);
}

TEST(HistoryPlan, EncodersHaveNone) {
  Model model = model_of({attention_layer(12, 12, 64, 3072)}, 768, 30522, 512);
  model.shape.encoder = true;
  EXPECT_EQ(of(model, {}).history, 0U);
}

// The engine stores V transposed then, and all rows of one width.
TEST(HistoryPlan, LlamaCppPadsVWithoutFlashAttention) {
  const Model model = model_of({attention_layer(8, 8, 64, 128), attention_layer(8, 2, 64, 128)});
  const PlanOptions padded = {.profile = llama_cpp_profile(), .flash_attention = false};
  EXPECT_EQ(make_plan(model, padded).history.find("layers.1.v")->bytes, 4096 * 512 * 2);
  EXPECT_EQ(make_plan(model, padded).history.find("layers.1.k")->bytes, 4096 * 128 * 2);
  PlanOptions options = padded;
  options.flash_attention = true;
  EXPECT_EQ(make_plan(model, options).history.find("layers.1.v")->bytes, 4096 * 128 * 2);
  options = padded;
  options.profile = native_profile();
  EXPECT_EQ(make_plan(model, options).history.find("layers.1.v")->bytes, 4096 * 128 * 2);
}

// Deci: the engine's tensor of a layer that keeps nothing is padded with the others.
TEST(HistoryPlan, LlamaCppPadsTheVOfLayersWithoutHeads) {
  const LayerShape none = {.ffn = 128};
  PlanOptions options = {.profile = llama_cpp_profile(), .flash_attention = false};
  const Model model = model_of({attention_layer(8, 8, 64, 128), none});
  EXPECT_EQ(of(model, options).kv, 4096 * (512 + 512 + 512) * 2);
  EXPECT_EQ(make_plan(model, options).history.find("layers.1.k"), nullptr);
  // A hybrid's cache has the layers with attention only.
  const Model hybrid = model_of({attention_layer(8, 8, 64, 128), none, mamba2_layer()});
  EXPECT_EQ(of(hybrid, options).kv, 4096 * (512 + 512) * 2);
  options.flash_attention = true;
  EXPECT_EQ(of(model, options).kv, 4096 * (512 + 512) * 2);
}

TEST(HistoryPlan, RefusesTypesThatNoCacheHas) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  EXPECT_EQ(refusal(model, {.key_type = DType::q4_k}), "PlanOptions::key_type");
  EXPECT_EQ(refusal(model, {.value_type = DType::i32}), "PlanOptions::value_type");
  EXPECT_EQ(refusal(model, {.key_type = DType::f8_e4m3}), "accepted");
  EXPECT_EQ(refusal(model, {.profile = llama_cpp_profile(), .key_type = DType::f8_e4m3}),
            "PlanOptions::key_type");
}

TEST(HistoryPlan, RefusesTypesThatDoNotDivideTheRows) {
  const Model narrow = model_of({attention_layer(4, 4, 64, 128), attention_layer(4, 1, 80, 128)});
  EXPECT_EQ(refusal(narrow, {.key_type = DType::q8_0}), "layers.1.k");
  EXPECT_EQ(refusal(narrow, {.value_type = DType::q5_0}), "layers.1.v");
  // 320 elements a row divide; heads of 80 do not, and the engine works by heads.
  const Model wide = model_of({attention_layer(4, 4, 80, 128)});
  EXPECT_EQ(refusal(wide, {.key_type = DType::q8_0}), "accepted");
  EXPECT_EQ(refusal(wide, {.profile = llama_cpp_profile(), .key_type = DType::q8_0}), "layers.0.k");
}

TEST(HistoryPlan, QuantisedVNeedsFlashAttentionInLlamaCpp) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  PlanOptions options = {
      .profile = llama_cpp_profile(), .value_type = DType::q8_0, .flash_attention = false};
  EXPECT_EQ(refusal(model, options), "PlanOptions::flash_attention");
  options.profile = native_profile();
  EXPECT_EQ(refusal(model, options), "accepted");
}

// Where estimators are known to go wrong.

// Lengths of MLA's heads before absorption say nothing of the cache (-44 % there).
TEST(KnownErrors, LatentCacheIsNotHeadsTimesHeadDim) {
  const Model model = model_of({latent_layer()}, 2048, 102400, 4096);
  EXPECT_EQ(of(model, {}).kv, 4096 * 576 * 2);
}

// LFM2's and Jamba's lists begin with a 0.
TEST(KnownErrors, KvHeadsAreReadLayerByLayer) {
  LayerShape state = mamba2_layer();
  const Model model = model_of({state, state, attention_layer(32, 8, 64, 128)});
  EXPECT_EQ(of(model, {}).kv, 2 * 4096 * 8 * 64 * 2);
}

TEST(KnownErrors, HybridsChargeEachLayerWithWhatItHas) {
  const Model model = model_of({mamba2_layer(), attention_layer(12, 4, 128, 512)});
  const Plan plan = make_plan(model, {});
  EXPECT_EQ(plan.history.find("layers.0.k"), nullptr);
  EXPECT_EQ(plan.history.find("layers.1.state"), nullptr);
  EXPECT_EQ(plan.history.regions().size(), 4U);
}

// Qwen3-30B-A3B: 32 heads of 128 in a hidden row of 2048.
TEST(KnownErrors, HeadDimIsNotHiddenOverHeads) {
  const Model model =
      model_of(std::vector<LayerShape>(48, attention_layer(32, 4, 128, 6144)), 2048, 151936, 4096);
  EXPECT_EQ(of(model, {}).kv, 384_MiB);  // as the engine prints
}

TEST(KnownErrors, KAndVMayDiffer) {
  LayerShape layer = attention_layer(64, 4, 192, 128);
  layer.value_dim = 128;
  EXPECT_EQ(of(model_of({layer}), {}).kv, 4096 * 4 * (192 + 128) * 2);
}

TEST(KnownErrors, OverflowIsAnError) {
  const std::uint64_t large = std::uint64_t{1} << 40U;
  EXPECT_THROW(
      (void)make_plan(model_of({attention_layer(1, large, 64, 1)}), {.total_context = large}),
      InvalidArgument);
  EXPECT_THROW((void)make_plan(model_of({attention_layer(1, 1, 64, 1)}),
                               {.total_context = std::uint64_t{0} - 1}),
               InvalidArgument);
  LayerShape state = mamba2_layer();
  state.state = std::uint64_t{1} << 62U;
  EXPECT_THROW((void)make_plan(model_of({state}), {}), InvalidArgument);
}

}  // namespace
}  // namespace tapedeck::tests
