// SPDX-License-Identifier: Apache-2.0
// Towers and draft layers, which are named with their sizes where published counts confirm these.
#include "model/config/left_out.hpp"

#include <gmock/gmock.h>

#include <cstdint>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "model/shapes.hpp"
#include "model/shared_data.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// The parameters of all parts that warnings name as left out.
std::uint64_t left_out_of(const ModelShape& shape) {
  const std::regex size(R"( of (\d+) parameters( \(.*\))?, which is not part of the weights$)");
  std::uint64_t sum = 0;
  for (const std::string& warning : shape.warnings) {
    std::smatch found;
    if (std::regex_search(warning, found, size)) sum += std::stoull(found[1].str());
  }
  return sum;
}

const std::map<std::string, std::uint64_t> kLeftOut = {
    {"LiquidAI--LFM2.5-VL-1.6B.json", 426'285'296},
    {"Qwen--Qwen2.5-VL-7B-Instruct.json", 676'550'144},
    {"Qwen--Qwen3-VL-2B-Instruct.json", 406'957'056},
    {"Qwen--Qwen3.5-0.8B.json", 100'592'896 + 20'452'864},
    {"Qwen--Qwen3.5-27B.json", 460'730'096 + 424'699'392},
    {"Qwen--Qwen3.5-35B-A3B.json", 446'571'248 + 844'640'768},
    {"XiaomiMiMo--MiMo-7B-Base.json", 210'790'400},
    {"deepseek-ai--DeepSeek-V3.json", 13'463'426'304},
    {"google--gemma-3-4b-it.json", 419'816'304},
    {"zai-org--GLM-4.5.json", 5'539'962'272},
};

// One for each 128 x 128 weights in f8.
const std::map<std::string, std::uint64_t> kScales = {
    {"deepseek-ai--DeepSeek-V3.json", 41'540'496}};

// Decoder and what is left out are together what the checkpoint has.
TEST(LeftOut, OfPublishedConfigsIsTheRestOfTheirCheckpoints) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  std::size_t counted = 0;
  for (const IndexRow& row : rows) {
    const std::string& file = row.at("file");
    SCOPED_TRACE(file);
    const ModelShape shape = read_model(shared_data("configs") / file).shape;
    const auto expected = kLeftOut.find(file);
    EXPECT_EQ(left_out_of(shape), expected == kLeftOut.end() ? 0 : expected->second);
    if (expected == kLeftOut.end()) continue;
    ++counted;
    EXPECT_FALSE(shape.exact_weights);
    const auto scales = kScales.find(file);
    EXPECT_EQ(shape.parameter_count().value() + expected->second +
                  (scales == kScales.end() ? 0 : scales->second),
              std::stoull(row.at("params_stated")));
  }
  EXPECT_EQ(counted, kLeftOut.size());
}

/// A small Gemma 3 with a tower, without or with further entries.
std::string gemma_with(const std::string& tower) {
  return R"({"model_type": "gemma3", "torch_dtype": "bfloat16", "text_config": {"model_type":
      "gemma3_text", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 100,
      "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96,
      "max_position_embeddings": 10}, "vision_config": {)" +
         tower + "}}";
}

const std::string kTower =
    R"("hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "patch_size": 2)";

// 3 channels of patches of 2 x 2, 5 x 5 positions, 3 layers, a norm, a projection and its norm.
constexpr std::uint64_t kSmallTower = (12 * 8 + 8) + 25 * 8 +
                                      3 * (4 * 8 + 4 * 72 + (8 * 12 + 12) + (12 * 8 + 8)) + 2 * 8 +
                                      8 * 64 + 8;

TEST(LeftOut, IsCountedOnlyIfEveryFigureIsStated) {
  const ModelShape whole =
      shape_of_config(gemma_with(kTower + R"(, "image_size": 11, "vision_use_head": false)"));
  EXPECT_THAT(whole.warnings,
              ElementsAre("vision_config describes a tower of " + std::to_string(kSmallTower) +
                          " parameters (" + to_iec(2 * kSmallTower) +
                          " as bf16), which is not part of the weights"));
  EXPECT_FALSE(whole.exact_weights);
  EXPECT_TRUE(whole.exact_caches);
  // A tower with a head, without a figure, or of another model is named as a whole.
  for (const char* more : {R"(, "image_size": 11, "vision_use_head": true)",
                           R"(, "vision_use_head": false)", R"(, "image_size": 11)"}) {
    EXPECT_THAT(shape_of_config(gemma_with(kTower + more)).warnings,
                ElementsAre("fields that may bear on the weights are not used: vision_config"));
  }
  // A field that the rule does not know is named beside the size.
  EXPECT_THAT(shape_of_config(gemma_with(kTower + R"(, "image_size": 11, "vision_use_head": false,
                                                    "num_experts": 4)"))
                  .warnings,
              ElementsAre(StartsWith("vision_config describes a tower of "),
                          HasSubstr("not used: vision_config.num_experts")));
}

TEST(LeftOut, OfDraftLayersIsOnlyOneLayer) {
  constexpr const char* kMimo =
      "hidden_size=64 num_hidden_layers=2 num_attention_heads=4 num_key_value_heads=2 "
      "intermediate_size=96 vocab_size=100 max_position_embeddings=10 ";
  const ModelShape one = shape_of_words("mimo", std::string(kMimo) + "num_nextn_predict_layers=1");
  // A layer with biases of queries, keys and values, a projection of two inputs, and three norms.
  constexpr std::uint64_t kDraft =
      (64 + 32 + 32 + 64) * 64 + 128 + 3 * 96 * 64 + 2 * 64 + 2 * 64 * 64 + 3 * 64;
  EXPECT_THAT(one.warnings, ElementsAre("num_nextn_predict_layers adds a draft layer of " +
                                        std::to_string(kDraft) +
                                        " parameters, which is not part of the weights"));
  EXPECT_FALSE(one.exact_weights);
  const ModelShape two = shape_of_words("mimo", std::string(kMimo) + "num_nextn_predict_layers=2");
  EXPECT_THAT(two.warnings, ElementsAre(HasSubstr("are not used: num_nextn_predict_layers")));
  EXPECT_TRUE(
      shape_of_words("mimo", std::string(kMimo) + "num_nextn_predict_layers=0").exact_weights);
}

}  // namespace
}  // namespace tapedeck::tests
