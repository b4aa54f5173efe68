// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/plan.hpp"
#include "base/most.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "plan/random_plan.hpp"
#include "plan/refused.hpp"
#include "plan/shapes.hpp"
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

TEST(MakePlan, HoldsForRandomShapes) {
  for (std::uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    const RandomPlan random(seed, llama_cpp_profile());
    const Plan plan = make_plan(random.model, random.options);
    expect_sound_tape(plan.weights);
    expect_sound_tape(plan.history);
    expect_sound_tape(plan.scratch);
    const Breakdown sums = plan.breakdown();
    EXPECT_EQ(sums.weights, plan.weights.payload());
    EXPECT_EQ(sums.history, plan.history.payload() * plan.talks);
    EXPECT_EQ(sums.history, sums.kv + sums.window + sums.recurrent);
    EXPECT_EQ(sums.scratch, plan.scratch.bytes());
    EXPECT_EQ(sums.total, sums.weights.value() + sums.history + sums.scratch + sums.overhead);
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

/// 4 heads of size 64, trained for this many tokens.
Model four_heads_of(std::uint64_t context = 4096) {
  return model_of({attention_layer(4, 4, 64, 128)}, 512, 1000, context);
}

TEST(MakePlan, TakesTheModelsOwnContext) {
  EXPECT_EQ(make_plan(four_heads_of(2048)).context_per_talk, 2048U);
  EXPECT_EQ(make_plan(four_heads_of(2048), {.total_context = 512}).context_per_talk, 512U);
  EXPECT_EQ(make_plan(four_heads_of(0), {.total_context = 512}).context_per_talk, 512U);
  EXPECT_EQ(refused([] { return make_plan(four_heads_of(0)); }),
            (Refused{"PlanOptions::total_context", 0, 1}));
}

TEST(MakePlan, WarnsWhereSequencesDivideTheModelsOwnContext) {
  const Model model = four_heads_of(128);
  const auto warnings = [&](const PlanOptions& options) {
    return make_plan(model, options).warnings.size();
  };
  EXPECT_EQ(warnings({.sequences = 1}), 0U);
  EXPECT_EQ(warnings({.total_context = 1024, .sequences = 8}), 0U);
  EXPECT_EQ(warnings({.sequences = 8, .unified = true}), 0U);
  EXPECT_EQ(warnings({.sequences = 8}), 1U);
  EXPECT_EQ(make_plan(model, {.sequences = 8}).context_per_talk * 8, 128U);
  EXPECT_TRUE(make_plan(model, {.sequences = 8}).exact());
}

TEST(MakePlan, WarnsOfATalkThatIsLongerThanTheModelsContext) {
  const Plan plan = make_plan(four_heads_of(128), {.total_context = 129});
  EXPECT_TRUE(plan.exact());
  ASSERT_EQ(plan.warnings.size(), 1U);
  EXPECT_TRUE(plan.warnings[0].starts_with("a talk of 129 tokens is longer than the 128 "));
  EXPECT_TRUE(make_plan(four_heads_of(128), {.total_context = 128}).warnings.empty());
  EXPECT_TRUE(make_plan(four_heads_of(0), {.total_context = 129}).warnings.empty());
}

TEST(MakePlan, RefusesOptionsOfNothing) {
  const auto refused_options = [](const PlanOptions& options) {
    return refused([&] { return make_plan(four_heads_of(), options); });
  };
  EXPECT_EQ(refused_options({.sequences = 0}), (Refused{"PlanOptions::sequences", 0, 1}));
  EXPECT_EQ(refused_options({.decode_batch = 0}), (Refused{"PlanOptions::decode_batch", 0, 1}));
  EXPECT_EQ(refused_options({.batch = 0}), (Refused{"PlanOptions::batch", 0, 1}));
  EXPECT_EQ(refused_options({.micro_batch = 0}), (Refused{"PlanOptions::micro_batch", 0, 1}));
  EXPECT_EQ(refused_options({.cell_rounding = 0}), (Refused{"PlanOptions::cell_rounding", 0, 1}));
  EXPECT_EQ(refused_options({.activation_type = DType::q8_0}),
            Refused{"PlanOptions::activation_type"});
  EXPECT_EQ(refused([] { return make_plan(model_of({})); }), Refused{"ModelShape::layers"});
}

TEST(MakePlan, NamesTheOptionThatMakesThePlanTooLarge) {
  constexpr std::uint64_t kLarge = std::uint64_t{1} << 60U;
  struct Row {
    PlanOptions options;
    Refused expected;
  };
  const std::vector<Row> rows = {
      {{.overhead = kMost}, {"PlanOptions::overhead", kMost}},
      {{.rollback_states = kMost}, {"PlanOptions::rollback_states", kMost}},
      {{.sequences = kMost}, {"PlanOptions::sequences", kMost}},
      {{.sequences = kLarge, .unified = true}, {"PlanOptions::sequences", kLarge}},
      {{.total_context = kLarge}, {"PlanOptions::total_context", kLarge}},
      {{.decode_batch = kLarge}, {"PlanOptions::decode_batch", kLarge}},
      {{.cell_rounding = kLarge}, {"PlanOptions::cell_rounding", kLarge}},
      // Each sum of elements fits, but not the sum of their bytes.
      {{.decode_batch = kLarge >> 9U}, {"PlanOptions::decode_batch", kLarge >> 9U}},
      // An option is not named if the plan is too large without it.
      {{.total_context = kMost, .overhead = kMost}, {"PlanOptions::total_context", kMost}},
      {{.total_context = kMost, .overhead = kLarge}, {"PlanOptions::total_context", kMost}},
      {{.total_context = kLarge >> 20U, .decode_batch = kLarge},
       {"PlanOptions::decode_batch", kLarge}},
      {{.total_context = kLarge, .decode_batch = kLarge}, {"PlanOptions::decode_batch", kLarge}},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(refused([&] { return make_plan(four_heads_of(), row.options); }), row.expected);
  }
  // A micro-batch is limited by the context, except in the cache of a window.
  const Model windowed = model_of({windowed_layer(attention_layer(4, 4, 64, 128), 512)});
  const PlanOptions batches = {.batch = kMost, .micro_batch = kMost};
  EXPECT_EQ(refused([&] { return make_plan(windowed, batches); }),
            (Refused{"PlanOptions::micro_batch", kMost}));
}

// Smaller options cannot help if the model's own sizes are too large.
TEST(MakePlan, NamesNoOptionIfTheModelIsTooLarge) {
  const auto refused_model = [](const Model& model, const PlanOptions& options = {}) {
    return refused([&] { return make_plan(model, options); });
  };
  constexpr std::uint64_t kLarge = std::uint64_t{1} << 60U;
  EXPECT_EQ(refused_model(four_heads_of(kMost)), kTooLarge);
  EXPECT_EQ(refused_model(four_heads_of(kMost), {.overhead = kMost}), kTooLarge);
  const Model wide = model_of({attention_layer(kLarge, kLarge, 64, 128)});
  EXPECT_EQ(refused_model(wide, {.total_context = kMost, .decode_batch = kMost}), kTooLarge);
}

TEST(MakePlan, IsExactWhereNothingIsAssumed) {
  EXPECT_TRUE(make_plan(four_heads_of()).exact());
  EXPECT_TRUE(make_plan(four_heads_of()).warnings.empty());

  Model model = four_heads_of();
  model.shape.exact_caches = false;
  model.shape.warnings = {"unknown architecture"};
  EXPECT_FALSE(make_plan(model).exact());
  EXPECT_THAT(make_plan(model).warnings, ::testing::ElementsAre("unknown architecture"));

  model = four_heads_of();
  model.shape.dtype.reset();
  EXPECT_FALSE(make_plan(model).exact());
  EXPECT_EQ(make_plan(model).warnings.size(), 1U);
}

TEST(Breakdown, CountsOverheadAsALine) {
  const Breakdown without = make_plan(four_heads_of()).breakdown();
  const Breakdown with = make_plan(four_heads_of(), {.overhead = 12345}).breakdown();
  EXPECT_EQ(with.overhead, 12345U);
  EXPECT_EQ(with.total, without.total.value() + 12345);
  EXPECT_EQ(with.scratch, without.scratch);
}

// It is noexcept, even for plans composed by hand.
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
