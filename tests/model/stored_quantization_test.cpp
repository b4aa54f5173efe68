// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/stored_quantization.hpp"

#include <gtest/gtest.h>

#include <string>

#include "os/temp_folder.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::tests {
namespace {

/// Reads a config with these entries in its quantization_config, and with `beside` next to it.
StoredQuantization stored(const std::string& entries, const std::string& beside = "") {
  const TempFolder folder;
  return read_model(folder.write("config.json",
                                 R"({"model_type": "llama", "hidden_size": 64, "vocab_size": 512,
      "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,)" +
                                     beside + R"("quantization_config": {)" + entries + "}}"))
      .shape.quantization;
}

TEST(StoredQuantization, OfFp8HasBlocks) {
  const auto fp8 = stored(R"("quant_method": "fp8", "weight_block_size": [128, 64])",
                          R"("torch_dtype": "float32", )");
  EXPECT_TRUE(fp8.quantized());
  EXPECT_EQ(fp8.method, "fp8");
  EXPECT_EQ(fp8.type, DType::f8_e4m3);
  EXPECT_EQ(fp8.other_type, DType::f32);
  EXPECT_EQ(fp8.block_rows, 128U);
  EXPECT_EQ(fp8.block_columns, 64U);
  EXPECT_EQ(stored(R"("quant_method": "fp8", "weight_block_size": [128])").block_rows, 0U);
}

TEST(StoredQuantization, OfInt4HasGroups) {
  const auto gptq = stored(R"("quant_method": "gptq", "bits": 4, "group_size": 64)");
  EXPECT_EQ(gptq.type, DType::f4);
  EXPECT_EQ(gptq.scale_type, DType::f16);
  EXPECT_EQ(gptq.block_rows, 1U);
  EXPECT_EQ(gptq.block_columns, 64U);
  EXPECT_TRUE(gptq.zero_points && gptq.column_index);
  const auto awq = stored(R"("quant_method": "awq", "bits": 4)");
  EXPECT_EQ(awq.block_columns, 128U);
  EXPECT_FALSE(awq.column_index);
  const auto packed = stored(
      R"("quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
         {"group_0": {"weights": {"num_bits": 4, "group_size": 32, "symmetric": false}}})");
  EXPECT_EQ(packed.block_columns, 32U);
  EXPECT_TRUE(packed.zero_points);
}

TEST(StoredQuantization, OfAnUnknownMethodHasItsName) {
  for (const char* entries :
       {R"("quant_method": "sorcery")", R"("quant_method": "gptq", "bits": 3)"}) {
    EXPECT_FALSE(stored(entries).quantized()) << entries;
    EXPECT_FALSE(stored(entries).method.empty()) << entries;
  }
  EXPECT_TRUE(stored("").method.empty());
}

TEST(StoredQuantization, LeavesOutModulesByPart) {
  const auto left = stored(
      R"("quant_method": "fp8", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"])");
  EXPECT_TRUE(left.leaves_out(Part::query) && left.leaves_out(Part::attention_output));
  EXPECT_FALSE(left.leaves_out(Part::up) || left.leaves_out(Part::expert_up));
  const auto ignored = stored(
      R"("quant_method": "fp8", "ignore": ["re:.*shared_experts.*", "re:.*mlp\\.(gate|up)_proj.*"])");
  EXPECT_TRUE(ignored.leaves_out(Part::shared_down) && ignored.leaves_out(Part::gate_up));
  EXPECT_FALSE(ignored.leaves_out(Part::query));
}

TEST(StoredQuantization, CoversMatricesButNoRouter) {
  const Parameter query = {"q", ParameterKind::matrix, 1, 64, 64, {.part = Part::query}};
  const Parameter expert = {"e", ParameterKind::expert, 1, 64, 64, {.part = Part::expert_up}};
  const Parameter router = {"r", ParameterKind::matrix, 1, 8, 64, {.part = Part::router}};
  const Parameter norm = {"n", ParameterKind::norm, 1, 1, 64, {.part = Part::norm}};
  const StoredQuantization all = {.known = true};
  EXPECT_TRUE(all.covers(query) && all.covers(expert));
  EXPECT_FALSE(all.covers(router) || all.covers(norm));
  EXPECT_FALSE((StoredQuantization{.known = true, .experts_only = true}).covers(query));
  EXPECT_FALSE(StoredQuantization{}.covers(expert));
}

}  // namespace
}  // namespace tapedeck::tests
