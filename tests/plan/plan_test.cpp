#include "tapedeck/plan/plan.hpp"
#include "base/most.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "plan/shapes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"

namespace tapedeck::tests {
namespace {

bool meet(const Live& a, const Live& b) { return a.begin < b.end && b.begin < a.end; }

void expect_sound_tape(const TapePlan& tape) {
  std::uint64_t payload = 0;
  std::uint64_t end = 0;
  const auto regions = tape.regions();
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const Region& region = regions[i];
    EXPECT_EQ(region.offset % region.alignment, 0U) << region.name;
    payload += region.bytes;
    end = std::max(end, region.offset + region.bytes);
    for (std::size_t k = 0; k < i; ++k) {
      const Region& other = regions[k];
      const bool apart = region.offset >= other.offset + other.bytes ||
                         other.offset >= region.offset + region.bytes;
      EXPECT_TRUE(apart || !meet(region.live, other.live)) << region.name << " " << other.name;
      EXPECT_NE(region.name, other.name);
    }
  }
  EXPECT_EQ(tape.payload(), payload);
  EXPECT_GE(tape.bytes(), end);
  EXPECT_LT(tape.bytes(), end + 64);
}

LayerShape random_layer(std::mt19937& random) {
  if (random() % 4 == 0) return mamba2_layer();
  if (random() % 6 == 0) return latent_layer();
  const std::uint64_t kv_heads = 1 + random() % 8;
  LayerShape layer =
      attention_layer(kv_heads * (1 + random() % 4), kv_heads, 32 * (1 + random() % 8),
                      random() % 3 == 0 ? 0 : 1 + random() % 9000);
  if (random() % 3 == 0) layer.value_dim = 32 * (1 + random() % 4);
  if (random() % 3 == 0) layer = windowed_layer(layer, 1 + random() % 3000);
  if (random() % 5 == 0) layer.shares_cache = true;
  if (random() % 3 == 0) {
    layer.experts = 8;
    layer.experts_used = 1 + random() % 8;
    layer.expert_ffn = 1 + random() % 3000;
    layer.shared_ffn = random() % 2 == 0 ? 0 : 512;
  }
  return layer;
}

PlanOptions random_options(std::mt19937& random) {
  constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};
  PlanOptions options;
  options.profile = random() % 2 == 0 ? native_profile() : llama_cpp_profile();
  options.total_context = 1 + random() % 20'000;
  options.sequences = 1 + random() % 5;
  options.unified = random() % 2 == 0;
  options.decode_batch = 1 + random() % 4;
  options.batch = 1 + random() % 3000;
  options.micro_batch = 1 + random() % 1000;
  options.key_type = kTypes[random() % 5];
  options.value_type = kTypes[random() % 5];
  options.flash_attention = random() % 2 == 0;
  options.full_window_cache = random() % 4 == 0;
  options.rollback_states = random() % 3;
  options.all_logits = random() % 2 == 0;
  options.overhead = random() % 1000;
  if (options.value_type >= DType::q4_0) options.flash_attention = true;
  return options;
}

TEST(MakePlan, HoldsForRandomShapes) {
  std::mt19937 random(20261121);  // NOLINT(cert-msc51-cpp)
  for (int round = 0; round < 150; ++round) {
    SCOPED_TRACE(round);
    std::vector<LayerShape> layers(1 + random() % 12);
    for (LayerShape& layer : layers) layer = random_layer(random);
    const Model model = model_of(layers, 32 * (1 + random() % 64), 1 + random() % 50'000);
    const Plan plan = make_plan(model, random_options(random));
    expect_sound_tape(plan.weights);
    expect_sound_tape(plan.history);
    expect_sound_tape(plan.scratch);
    const Breakdown sums = plan.breakdown();
    EXPECT_EQ(sums.weights, plan.weights.payload());
    EXPECT_EQ(sums.history, plan.history.payload() * plan.talks);
    EXPECT_EQ(sums.history, sums.kv + sums.window + sums.recurrent);
    EXPECT_EQ(sums.scratch, plan.scratch.bytes());
    EXPECT_EQ(sums.total, sums.weights + sums.history + sums.scratch + sums.overhead);
    EXPECT_LE(plan.prefill_lower_bound, sums.prefill);
    EXPECT_LE(sums.prefill, sums.scratch);
    EXPECT_LE(sums.decode, sums.scratch);
    EXPECT_FALSE(plan.peak_stage.empty());
    for (const Region& region : plan.history.regions()) {
      if (region.growth == Growth{}) continue;
      EXPECT_EQ(region.growth.bytes_per_token * region.growth.capacity, region.bytes);
      EXPECT_EQ(region.offset % 4096, 0U);
    }
  }
}

TEST(MakePlan, TakesTheModelsOwnContext) {
  Model model = model_of({attention_layer(4, 4, 64, 128)}, 512, 1000, 2048);
  EXPECT_EQ(make_plan(model).context_per_talk, 2048U);
  EXPECT_EQ(make_plan(model, {.total_context = 512}).context_per_talk, 512U);
  model.shape.context = 0;
  EXPECT_THROW((void)make_plan(model), InvalidArgument);
  EXPECT_EQ(make_plan(model, {.total_context = 512}).context_per_talk, 512U);
}

TEST(MakePlan, WarnsWhereSequencesDivideTheModelsOwnContext) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)}, 512, 1000, 128);
  EXPECT_TRUE(make_plan(model, {.sequences = 1}).warnings.empty());
  const Plan divided = make_plan(model, {.sequences = 8});
  EXPECT_EQ(divided.context_per_talk * 8, model.shape.context);
  EXPECT_EQ(divided.warnings.size(), 1U);
  EXPECT_EQ(divided.exact, make_plan(model).exact);
  EXPECT_TRUE(make_plan(model, {.total_context = 2048, .sequences = 8}).warnings.empty());
  EXPECT_TRUE(make_plan(model, {.sequences = 8, .unified = true}).warnings.empty());
}

TEST(MakePlan, RefusesOptionsOfNothing) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  EXPECT_THROW((void)make_plan(model, {.sequences = 0}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.decode_batch = 0}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.batch = 0}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.micro_batch = 0}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.cell_rounding = 0}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.activation_type = DType::q8_0}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model_of({})), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.overhead = kMost}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.rollback_states = kMost}), InvalidArgument);
  EXPECT_THROW((void)make_plan(model, {.sequences = kMost}), InvalidArgument);
}

TEST(MakePlan, IsExactWhereNothingIsAssumed) {
  Model model = model_of({attention_layer(4, 4, 64, 128)});
  EXPECT_TRUE(make_plan(model).exact);
  EXPECT_TRUE(make_plan(model).warnings.empty());

  model.shape.exact = false;
  model.shape.warnings = {"unknown architecture"};
  EXPECT_FALSE(make_plan(model).exact);
  EXPECT_THAT(make_plan(model).warnings, ::testing::ElementsAre("unknown architecture"));

  model = model_of({attention_layer(4, 4, 64, 128)});
  model.shape.dtype.reset();
  EXPECT_FALSE(make_plan(model).exact);
  EXPECT_EQ(make_plan(model).warnings.size(), 1U);
}

TEST(Breakdown, CountsOverheadAsALine) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  const Breakdown without = make_plan(model).breakdown();
  const Breakdown with = make_plan(model, {.overhead = 12345}).breakdown();
  EXPECT_EQ(with.overhead, 12345U);
  EXPECT_EQ(with.total, without.total + 12345);
  EXPECT_EQ(with.scratch, without.scratch);
}

// It promises not to throw, of plans made by hand too.
TEST(Breakdown, StaysAtTheMostThatFits) {
  Plan plan;
  plan.history.append({.name = "k", .role = RegionRole::kv, .bytes = kMost / 2});
  plan.talks = 3;
  EXPECT_EQ(plan.breakdown().kv, kMost);
  EXPECT_EQ(plan.breakdown().total, kMost);
}

TEST(Profile, NamesItsPlans) {
  EXPECT_EQ(make_plan(qwen2_1_5b(), {}).profile, "native");
  EXPECT_EQ(make_plan(qwen2_1_5b(), {.profile = llama_cpp_profile()}).profile, "llama.cpp");
}

}  // namespace
}  // namespace tapedeck::tests
