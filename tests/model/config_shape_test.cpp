// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "model/architectures.hpp"
#include "model/refusal.hpp"
#include "model/shapes.hpp"
#include "model/shared_data.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;
using enum FormatFault;

ModelShape shape_of_file(const std::string& name) {
  return read_model(shared_data("configs") / name).shape;
}

bool is_there(const std::string& name) {
  return std::filesystem::exists(shared_data("configs") / name);
}

constexpr std::array<std::string_view, 4> kWholeCheckpoints = {
    "Qwen--Qwen-7B.json", "openbmb--MiniCPM4-8B.json",
    "nvidia--Llama-3_3-Nemotron-Super-49B-v1.json",
    "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.json"};

TEST(ConfigShape, CountsTheParametersOfEveryPublishedConfig) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  std::size_t counted = 0;
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file"));
    const Model model = read_model(shared_data("configs") / row.at("file"));
    EXPECT_EQ(model.format, ModelFormat::config);
    EXPECT_TRUE(model.tensors.empty());
    const ModelShape& shape = model.shape;
    EXPECT_FALSE(shape.layers.empty());
    EXPECT_EQ(shape.exact(), shape.warnings.empty());
    // If the index states no formula, the files of some models contain only the text decoder.
    const bool whole = std::ranges::count(kWholeCheckpoints, row.at("file")) != 0;
    const std::string& count = row.at(whole ? "params_stated" : "params_formula");
    if (count.empty()) continue;
    ++counted;
    EXPECT_EQ(shape.parameter_count(), std::stoull(count));
  }
  EXPECT_EQ(rows.size(), 72U);
  EXPECT_EQ(counted, 54U);
}

// The index also counts scales: one per 32 weights for MXFP4, one per 128 × 128 weights for FP8.
TEST(ConfigShape, TheStatedScalesAreThoseOfTheQuantizedParts) {
  std::size_t seen = 0;
  for (const IndexRow& row : index_of("configs")) {
    const bool fp8 = row.at("file") == "MiniMaxAI--MiniMax-M2.5.json";
    if (!fp8 && row.at("file") != "openai--gpt-oss-20b.json") continue;
    ++seen;
    const ModelShape shape = shape_of_file(row.at("file"));
    std::uint64_t quantized = 0;
    for (const Parameter& part : shape.parameters) {
      if (shape.quantization.covers(part)) quantized += part.count * part.rows * part.columns;
    }
    EXPECT_EQ(std::stoull(row.at("params_stated")) - shape.parameter_count().value(),
              quantized / (fp8 ? 128ULL * 128 : 32ULL));
  }
  if (seen == 0) GTEST_SKIP() << "no " << shared_data("configs");
  EXPECT_EQ(seen, 2U);
}

TEST(ConfigShape, SharedFilesInDetail) {
  if (!is_there("google--gemma-4-E2B-it.json")) GTEST_SKIP() << "no " << shared_data("configs");

  // The last 20 of 35 layers have no cache of their own.
  const ModelShape gemma4 = shape_of_file("google--gemma-4-E2B-it.json");
  for (std::size_t i = 0; i < 35; ++i) EXPECT_EQ(gemma4.layers[i].shares_cache, i >= 15) << i;
  EXPECT_EQ(gemma4.layers[3].window, 512U);
  EXPECT_EQ(gemma4.layers[3].key_dim, 256U);
  EXPECT_EQ(gemma4.layers[4].key_dim, 512U);

  // The keys of an indexer, in each layer or in those that choose for the layers after them.
  const auto indexed = [](const char* file) {
    return std::ranges::count(shape_of_file(file).layers, 128U, &LayerShape::indexer_dim);
  };
  EXPECT_EQ(indexed("deepseek-ai--DeepSeek-V3.2.json"), 61);
  EXPECT_EQ(indexed("zai-org--GLM-5.2.json"), 21);

  // Numbered from 1: the fourth layer has attention.
  const ModelShape kimi = shape_of_file("moonshotai--Kimi-K3.json");
  EXPECT_EQ(kimi.layers[0].recurrence, Recurrence::gated_delta);
  EXPECT_EQ(kimi.layers[3].attention, Attention::latent);
  EXPECT_EQ(kimi.layers[3].recurrence, Recurrence::none);

  const ModelShape v4 = shape_of_file("deepseek-ai--DeepSeek-V4-Flash.json");
  EXPECT_EQ(v4.layers[0].attention, Attention::windowed);
  EXPECT_EQ(v4.layers[2].compress_ratio, 4U);
  EXPECT_EQ(v4.layers[2].indexer_dim, 128U);
  EXPECT_EQ(v4.layers[3].compress_ratio, 128U);
  EXPECT_EQ(v4.layers[3].key_dim, 512U);
  EXPECT_EQ(v4.layers[3].value_dim, 0U);
  EXPECT_FALSE(v4.exact());

  EXPECT_EQ(shape_of_file("Qwen--Qwen-7B.json").layers[0].ffn, 11'008U);
  EXPECT_EQ(shape_of_file("LiquidAI--LFM2.5-VL-1.6B.json").layers[0].ffn, 8'192U);
  EXPECT_EQ(shape_of_file("bigscience--bloom-3b.json").layers[0].ffn, 10'240U);
  EXPECT_EQ(shape_of_file("nvidia--Llama-3_3-Nemotron-Super-49B-v1.json").layers[0].ffn, 14'336U);

  const ModelShape scout = shape_of_file("meta-llama--Llama-4-Scout-17B-16E-Instruct.json");
  EXPECT_EQ(scout.layers[0].attention, Attention::chunked);
  EXPECT_EQ(scout.layers[0].window, 8'192U);
  EXPECT_EQ(scout.layers[3].attention, Attention::full);
  EXPECT_EQ(scout.layers[0].experts, 16U);
  EXPECT_EQ(scout.layers[0].experts_used, 1U);
  EXPECT_EQ(scout.layers[0].expert_ffn, 8'192U);
  EXPECT_EQ(scout.layers[0].shared_ffn, 8'192U);

  const ModelShape vision = shape_of_file("meta-llama--Llama-3.2-11B-Vision-Instruct.json");
  EXPECT_EQ(vision.layers[3].attention, Attention::none);  // attends to an image
  EXPECT_EQ(std::ranges::count(vision.layers, 0U, &LayerShape::heads), 8);
}

TEST(ConfigShape, KnowsTypesAndTies) {
  if (!is_there("Qwen--Qwen3-32B-FP8.json")) GTEST_SKIP() << "no " << shared_data("configs");
  EXPECT_EQ(shape_of_file("Qwen--Qwen3-32B-FP8.json").dtype, DType::f8_e4m3);
  EXPECT_EQ(shape_of_file("openai--gpt-oss-20b.json").dtype, DType::mxfp4);
  EXPECT_EQ(shape_of_file("Qwen--Qwen3-8B.json").dtype, DType::bf16);
  EXPECT_EQ(shape_of_file("meta-llama--Llama-2-7b-hf.json").dtype, DType::f16);
  EXPECT_EQ(shape_of_file("openai-community--gpt2.json").dtype, std::nullopt);
  EXPECT_TRUE(shape_of_file("openai-community--gpt2.json").tied);  // the key is absent
  EXPECT_TRUE(shape_of_file("google--gemma-7b.json").tied);
  EXPECT_TRUE(shape_of_file("Qwen--Qwen3.5-0.8B.json").tied);  // both beside and in text_config
  EXPECT_FALSE(shape_of_file("Qwen--Qwen3.5-27B.json").tied);  // only beside text_config
}

/// Four layers of eight heads.
ModelShape small(std::string_view architecture, const std::string& entries) {
  return shape_of_words(
      architecture,
      "hidden_size=64 num_hidden_layers=4 num_attention_heads=8 vocab_size=100 " + entries);
}

TEST(ConfigShape, AnUnknownArchitectureIsPlannedFromItsGenericFields) {
  const ModelShape shape = small("foo", "num_key_value_heads=2");
  EXPECT_EQ(shape.architecture, "foo");
  EXPECT_EQ(summary_of(shape), (Summary{.full = 4, .dense = 4, .keys = 64, .values = 64}));
  EXPECT_FALSE(shape.exact());
  EXPECT_EQ(shape.parameter_count(), std::nullopt);
  EXPECT_THAT(
      shape.warnings,
      ElementsAre("unknown architecture foo: planned from its generic fields, with full attention "
                  "in each layer that is not listed as something else",
                  "the tensors of foo are not all known, so its weights cannot be counted from the "
                  "config"));
}

TEST(ConfigShape, ANamelessModelIsNamedByItsClass) {
  EXPECT_EQ(shape_of_config(R"({"architectures": ["FooForCausalLM"]})").architecture,
            "FooForCausalLM");
}

TEST(ConfigShape, TheTextDecodersFieldsComeFirst) {
  const ModelShape shape = shape_of_words(
      "foo_vl",
      "hidden_size=7 vocab_size=50 vision_config={'hidden_size':9} text_config={'model_type':"
      "'llama','hidden_size':64,'num_hidden_layers':2,'num_attention_heads':4,"
      "'intermediate_size':8}");
  EXPECT_EQ(shape.architecture, "llama");
  EXPECT_EQ(shape.hidden, 64U);
  EXPECT_EQ(shape.vocabulary, 50U);
  EXPECT_TRUE(shape.exact_caches);
  EXPECT_FALSE(shape.exact_weights);
}

TEST(ConfigShape, WindowsMayBeListedOrStartAtALayer) {
  const auto windows = [](const char* architecture, const char* entries) {
    return letters_of(small(architecture, entries), letter_of_attention);
  };
  const char* const kList =
      "sliding_window=16 layer_types=['sliding_attention','full_attention','sliding_attention',"
      "'full_attention']";
  EXPECT_EQ(windows("foo", kList), "w-w-");
  EXPECT_EQ(small("foo", kList).layers[0].window, 16U);
  EXPECT_EQ(windows("exaone4", "sliding_window=32 sliding_window_pattern='LLG'"), "ww-w");
  EXPECT_EQ(windows("llama4",
                    "attention_chunk_size=32 no_rope_layers=[1,0,0,1] num_local_experts=2 "
                    "num_experts_per_tok=1 intermediate_size=8"),
            "c--c");
  const char* const kFromThree = "sliding_window=32 use_sliding_window=true max_window_layers=3";
  EXPECT_EQ(windows("qwen2", kFromThree), "---w");
  EXPECT_FALSE(small("qwen2", kFromThree).exact());
}

TEST(ConfigShape, ExpertsMayBeInSomeLayers) {
  const auto with_experts = [](const std::string& rule) {
    return letters_of(small("qwen3_moe",
                            "num_experts=4 num_experts_per_tok=2 intermediate_size=8 "
                            "moe_intermediate_size=16 " +
                                rule),
                      [](const LayerShape& layer) { return layer.experts != 0 ? 'E' : '-'; });
  };
  EXPECT_EQ(with_experts(""), "EEEE");
  EXPECT_EQ(with_experts("decoder_sparse_step=2"), "-E-E");
  EXPECT_EQ(with_experts("decoder_sparse_step=2 mlp_only_layers=[1]"), "---E");
  EXPECT_EQ(with_experts("first_k_dense_replace=3"), "---E");
  EXPECT_EQ(with_experts("first_k_dense_replace=1 moe_layer_freq=2"), "--E-");
  EXPECT_EQ(with_experts("moe_layer_freq=[0,1,1,0]"), "-EE-");
  EXPECT_EQ(with_experts("expert_layer_period=2 expert_layer_offset=0"), "E-E-");
  EXPECT_EQ(with_experts("mlp_layer_types=['dense','sparse','sparse','dense']"), "-EE-");
}

// Modules that are left out of some layers only are planned as if they were left out of all.
TEST(ConfigShape, ModulesOfSingleLayersAreNotExactlyLeftOut) {
  const auto exact_without = [](const std::string& modules) {
    return small("llama",
                 "intermediate_size=8 quantization_config={'quant_method':'fp8',"
                 "'modules_to_not_convert':[" +
                     modules + "]}")
        .exact_weights;
  };
  const std::string all =
      "'model.layers.0.self_attn','model.layers.1.self_attn','model.layers.2.self_attn'";
  EXPECT_TRUE(exact_without("'lm_head','self_attn'"));
  EXPECT_TRUE(exact_without("'model.layers.0.norm'"));
  EXPECT_FALSE(exact_without("'model.layers.0.mlp.down_proj','lm_head'"));
  EXPECT_FALSE(exact_without(all));
  EXPECT_TRUE(exact_without(all + ",'model.layers.3.self_attn'"));
  EXPECT_FALSE(exact_without(all + ",'model.layers.2.self_attn.q'"));
}

TEST(ConfigShape, AConfigOfSomethingElseHasNoLayers) {
  const ModelShape shape = shape_of_config(R"({"model_type": "llama", "image_size": 224})");
  EXPECT_TRUE(shape.layers.empty());
  EXPECT_FALSE(shape.exact());
  EXPECT_THAT(shape.warnings,
              ElementsAre("num_hidden_layers is missing, so the layers cannot be planned"));
}

/// A contradiction, and the key that the error must name.
struct Impossible {
  std::string_view text;
  std::string_view key;
  FormatFault fault = out_of_range;
};

std::ostream& operator<<(std::ostream& out, const Impossible& input) { return out << input.text; }

class ImpossibleConfig : public testing::TestWithParam<Impossible> {};

TEST_P(ImpossibleConfig, IsRefusedByTheKeyThatStatesIt) {
  const auto& [entries, key, fault] = GetParam();
  // If a key has two values, the last one counts.
  const std::string text =
      R"({"model_type": "llama", "num_hidden_layers": 2, "vocab_size": 9, "hidden_size": 8,)"
      R"( "num_attention_heads": 2, )" +
      std::string(entries) + R"(, "last": 0})";
  const std::size_t at = fault == missing ? 0 : text.rfind('"' + std::string(key) + '"');
  EXPECT_EQ(refusal_of([&] { return shape_of_config(text); }),
            (Refusal{at, std::string(key), fault}));
}

constexpr Impossible kImpossible[] = {
    {R"("num_hidden_layers": 1000000000)", "num_hidden_layers"},
    {R"("num_hidden_layers": 18446744073709551615)", "num_hidden_layers"},
    {R"("num_hidden_layers": -1)", "num_hidden_layers"},
    {R"("num_hidden_layers": 0)", "num_hidden_layers"},
    {R"("num_hidden_layers": 1.5)", "num_hidden_layers", wrong_type},
    {R"("num_hidden_layers": 1e300)", "num_hidden_layers", wrong_type},
    {R"("num_hidden_layers": "many")", "num_hidden_layers", wrong_type},
    {R"("vocab_size": null)", "padded_vocab_size", missing},
    {R"("vocab_size": 0)", "vocab_size"},
    {R"("hidden_size": null)", "hidden_size", missing},
    {R"("hidden_size": 4294967296)", "hidden_size"},
    {R"("num_attention_heads": null)", "num_attention_heads", missing},
    {R"("num_attention_heads": 0)", "num_attention_heads"},
    {R"("num_key_value_heads": 0)", "num_key_value_heads"},
    {R"("num_attention_heads": 16)", "head_dim", missing},  // more heads than elements
    {R"("head_dim": 0)", "head_dim"},
    {R"("v_head_dim": 0)", "v_head_dim"},
    {R"("mamba_dt_rank": 18446744073709551615)", "mamba_dt_rank"},
    {R"("layer_types": ["telepathy", "mlp"])", "layer_types", unsupported},
    {R"("num_kv_shared_layers": 3)", "num_kv_shared_layers", contradictory},
    {R"("num_local_experts": 2, "num_experts_per_tok": 3)", "num_experts_per_tok", contradictory},
    {R"("type_vocab_size": -1, "model_type": "bert")", "type_vocab_size"},
    // Figures that are valid one by one.
    {R"("num_hidden_layers": 4096, "hidden_size": 2147483647, "intermediate_size": 2147483647)",
     "hidden_size"},
    {R"("num_attention_heads": 536870913, "head_dim": 1073741824, "expand_v": 31.999999941326678,)"
     R"( "model_type": "gated_deltanet")",
     "mamba_d_state", missing},
    {R"("n_groups": 2147483647, "state_size": 2147483647, "model_type": "mamba2")", "state_size"},
};

INSTANTIATE_TEST_SUITE_P(Figures, ImpossibleConfig, testing::ValuesIn(kImpossible));

TEST(ConfigShape, AListOfLayersHasAllOfThem) {
  EXPECT_EQ(refusal_of([] { return small("llama", "layer_types=['full_attention']"); }),
            (Refusal{102, "layer_types", missing}));
  EXPECT_EQ(refusal_of([] { return small("nemotron_h", "hybrid_override_pattern='*'"); }),
            (Refusal{107, "hybrid_override_pattern", missing}));
}

}  // namespace
}  // namespace tapedeck::tests
