// SPDX-License-Identifier: Apache-2.0
// Weights, from directories and from what an architecture implies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/paths.hpp"
#include "plan/refused.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

/// A matrix, a norm, and two experts.
Model small() {
  const auto of_layers = [](const char* name, ParameterKind kind, std::uint64_t count,
                            std::uint64_t rows, Part part) {
    return Parameter{name, kind, count, rows, 512, {.part = part, .every_layer = true}};
  };
  Model model = model_of({attention_layer(4, 4, 64, 128)});
  model.shape.parameters = {
      of_layers("layers.attention.q", ParameterKind::matrix, 2, 256, Part::query),
      of_layers("layers.norm", ParameterKind::norm, 2, 1, Part::norm),
      of_layers("layers.experts.up", ParameterKind::expert, 4, 300, Part::expert_up),
      of_layers("layers.router", ParameterKind::matrix, 2, 2, Part::router),
      {"head", ParameterKind::head, 1, 1000, 512},
  };
  return model;
}

std::uint64_t bytes_in(const Model& model, const std::string& name,
                       const PlanOptions& options = {}) {
  const Plan plan = make_plan(model, options);
  const Region* region = plan.weights.find(name);
  return region == nullptr ? 0 : region->bytes;
}

TEST(WeightsPlan, OfAConfigIsItsParametersAtItsType) {
  const Plan plan = make_plan(small());
  EXPECT_EQ(plan.weights.payload(),
            2 * (2 * 256 * 512 + 2 * 512 + 4 * 300 * 512 + 2 * 2 * 512 + 1000 * 512));
  EXPECT_EQ(plan.weights.find("layers.norm")->dtype, DType::bf16);
  EXPECT_EQ(plan.weights.find("layers.experts.up")->shape,
            (std::vector<std::uint64_t>{4, 300, 512}));
}

// Norms are still f32, as in GGUF files.
TEST(WeightsPlan, TakesAnotherType) {
  const PlanOptions options = {.weights_type = DType::q4_k};
  EXPECT_EQ(bytes_in(small(), "layers.attention.q", options), 2 * 256 * 512 / 256 * 144);
  EXPECT_EQ(bytes_in(small(), "layers.norm", options), 2 * 512 * 4);
  Model odd = small();
  odd.shape.parameters = {{"a", ParameterKind::matrix, 1, 10, 96},
                          {"b", ParameterKind::matrix, 1, 10, 97}};
  EXPECT_EQ(bytes_in(odd, "a", options), 10 * 96 / 32 * 34);  // q8_0
  EXPECT_EQ(bytes_in(odd, "b", options), 10 * 97 * 2);        // f16
  EXPECT_EQ(refused([] { return make_plan(small(), {.weights_type = DType::i32}); }),
            Refused{"PlanOptions::weights_type"});
}

/// Returns `small` as a checkpoint that is stored with this quantization.
Model stored_as(StoredQuantization quantization) {
  Model model = small();
  quantization.known = true;
  model.shape.quantization = std::move(quantization);
  return model;
}

constexpr std::uint64_t bit(Part part) { return std::uint64_t{1} << static_cast<unsigned>(part); }

TEST(WeightsPlan, CountsScalesOfFp8Blocks) {
  const Model model = stored_as({.type = DType::f8_e4m3, .block_rows = 128, .block_columns = 128});
  EXPECT_EQ(bytes_in(model, "layers.attention.q"), 2 * 256 * 512);
  EXPECT_EQ(bytes_in(model, "layers.attention.q.scales"), 2 * (2 * 4) * 4);
  EXPECT_EQ(bytes_in(model, "layers.experts.up.scales"), 4 * (3 * 4) * 4);  // 300 is 3 blocks
  EXPECT_EQ(bytes_in(model, "layers.norm"), 2 * 512 * 2);
  EXPECT_EQ(bytes_in(model, "layers.router"), 2 * 2 * 512 * 2);
  EXPECT_EQ(bytes_in(model, "head"), 1000 * 512 * 2);
  EXPECT_TRUE(make_plan(model).exact());
}

TEST(WeightsPlan, PartsThatAreLeftOutHaveTheOtherType) {
  const Model model = stored_as({.type = DType::f8_e4m3,
                                 .other_type = DType::f32,
                                 .block_rows = 128,
                                 .block_columns = 128,
                                 .left_out = bit(Part::query)});
  EXPECT_EQ(bytes_in(model, "layers.attention.q"), 2 * 256 * 512 * 4);
  EXPECT_EQ(bytes_in(model, "layers.attention.q.scales"), 0U);
  EXPECT_EQ(bytes_in(model, "layers.experts.up"), 4 * 300 * 512);
}

TEST(WeightsPlan, Mxfp4OfExpertsHasItsScalesInside) {
  const Model model = stored_as({.type = DType::mxfp4, .experts_only = true});
  EXPECT_EQ(bytes_in(model, "layers.experts.up"), 4 * 300 * 512 / 32 * 17);
  EXPECT_EQ(bytes_in(model, "layers.attention.q"), 2 * 256 * 512 * 2);
  EXPECT_NE(make_plan(model).scratch.find("decode.temp_dequant"), nullptr);
}

TEST(WeightsPlan, CountsScalesAndZerosOfInt4) {
  const Model model = stored_as({.type = DType::f4,
                                 .scale_type = DType::f16,
                                 .block_rows = 1,
                                 .block_columns = 128,
                                 .zero_points = true,
                                 .column_index = true});
  EXPECT_EQ(bytes_in(model, "layers.attention.q"), 2 * 256 * 512 / 2);
  const std::uint64_t scales = std::uint64_t{256} * 4;
  EXPECT_EQ(bytes_in(model, "layers.attention.q.scales"),
            2 * (scales * 2 + scales / 2 + std::uint64_t{512} * 4));
}

TEST(WeightsPlan, WhatIsNotKnownIsAWarning) {
  Model model = small();
  model.shape.quantization.method = "sorcery";
  Plan plan = make_plan(model);
  EXPECT_FALSE(plan.exact());
  EXPECT_THAT(plan.warnings,
              ::testing::ElementsAre("quantization_config sorcery is unknown; the weights are "
                                     "planned as if they were not quantized"));
  model = small();
  model.shape.parameters.clear();
  plan = make_plan(model);
  EXPECT_TRUE(plan.weights.empty());
  EXPECT_FALSE(plan.exact());
  EXPECT_EQ(plan.warnings.size(), 1U);
}

/// Tests with real files beside the checkout.
class RealFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(shared_data("configs"))) GTEST_SKIP() << "no shared data";
  }
};

TEST_F(RealFiles, HaveOneRegionATensor) {
  const auto path = shared_data("engine_figures/llama-8b-gqa.header-only.gguf");
  const Model model = read_model(path);
  const Plan plan = make_plan(model);
  const auto regions = plan.weights.regions();
  const auto tensors = model.tensors.entries();
  ASSERT_EQ(regions.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(regions[i].name, tensors[i].name);
    EXPECT_EQ(regions[i].bytes, tensors[i].bytes);
    EXPECT_EQ(regions[i].offset % 64, 0U);
  }
  EXPECT_EQ(plan.weights.payload(), model.tensors.bytes());

  const Plan half = make_plan(model, {.weights_type = DType::f16});
  EXPECT_EQ(half.weights.find("output_norm.weight")->dtype, DType::f32);
  EXPECT_EQ(half.weights.find("output.weight")->bytes, std::uint64_t{128256} * 4096 * 2);
}

// Public lists count the scales of MiniMax-M2.5 as parameters too; the difference is only due to
// these.
TEST_F(RealFiles, ScaleElementsAreThoseOfThePublishedCheckpoint) {
  const auto path = shared_data("configs/MiniMaxAI--MiniMax-M2.5.json");
  std::uint64_t scales = 0;
  const Plan plan = make_plan(read_model(path));
  for (const Region& region : plan.weights.regions()) {
    if (region.name.ends_with(".scales")) scales += region.bytes / 4;
  }
  EXPECT_EQ(scales, 228'703'644'928 - 228'689'764'864);
  EXPECT_EQ(plan.weights.find("head")->dtype, DType::bf16);
}

// Four bits, and a scale of one byte for every 32 weights: 21,511,953,984 elements including the
// scales.
TEST_F(RealFiles, GptOssExpertsAreMxfp4) {
  const auto path = shared_data("configs/openai--gpt-oss-20b.json");
  const Plan plan = make_plan(read_model(path));
  std::uint64_t experts = 0;
  std::uint64_t rest = 0;
  for (const Region& region : plan.weights.regions()) {
    (region.dtype == DType::mxfp4 ? experts : rest) += region.bytes;
  }
  constexpr std::uint64_t kScales = 21'511'953'984 - 20'914'757'184;
  EXPECT_EQ(experts, kScales * 17);
  EXPECT_EQ(rest, (20'914'757'184 - kScales * 32) * 2);
}

}  // namespace
}  // namespace tapedeck::tests
