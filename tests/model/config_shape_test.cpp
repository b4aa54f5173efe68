#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/thrown.hpp"
#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "model/shapes.hpp"
#include "model/shared_data.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using testing::HasSubstr;

ModelShape shape_of_file(const std::string& name) {
  const std::filesystem::path path = shared_data("configs") / name;
  return internal::config_shape(path.string(), internal::read_json_config(path));
}

bool is_there(const std::string& name) {
  return std::filesystem::exists(shared_data("configs") / name);
}

TEST(ConfigShape, CountsTheParametersOfEveryPublishedConfig) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  std::size_t counted = 0;
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file"));
    const ModelShape shape = shape_of_file(row.at("file"));
    EXPECT_FALSE(shape.layers.empty());
    EXPECT_EQ(shape.exact, shape.warnings.empty());
    if (row.at("params_formula").empty()) continue;
    ++counted;
    EXPECT_EQ(shape.parameter_count(), std::stoull(row.at("params_formula")));
  }
  EXPECT_EQ(rows.size(), 72U);
  EXPECT_EQ(counted, 50U);
}

// Checkpoints whose index states no formula, and whose files hold the text decoder alone.
TEST(ConfigShape, CountsTheParametersOfOtherPublishedCheckpoints) {
  std::size_t counted = 0;
  for (const IndexRow& row : index_of("configs")) {
    for (const std::string_view name : {"Qwen--Qwen-7B.json", "openbmb--MiniCPM4-8B.json",
                                        "nvidia--Llama-3_3-Nemotron-Super-49B-v1.json",
                                        "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.json"}) {
      if (row.at("file") != name) continue;
      SCOPED_TRACE(name);
      ++counted;
      EXPECT_EQ(shape_of_file(row.at("file")).parameter_count(),
                std::stoull(row.at("params_stated")));
    }
  }
  if (counted == 0) GTEST_SKIP() << "no " << shared_data("configs");
  EXPECT_EQ(counted, 4U);
}

std::uint64_t elements_of(const ModelShape& shape, std::string_view name) {
  std::uint64_t sum = 0;
  for (const Parameter& part : shape.parameters) {
    if (part.name.starts_with(name)) sum += part.count * part.rows * part.columns;
  }
  return sum;
}

// The reasons that the index notes for what is stated beyond the formula.
TEST(ConfigShape, WhatIsStatedBeyondTheFormulaIsTheNotesReason) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  const auto surplus = [&](const std::string& file) -> std::uint64_t {
    for (const IndexRow& row : rows) {
      if (row.at("file") != file) continue;
      return std::stoull(row.at("params_stated")) - shape_of_file(file).parameter_count().value();
    }
    return 0;
  };
  const ModelShape llama = shape_of_file("meta-llama--Llama-2-7b-hf.json");
  EXPECT_EQ(surplus("meta-llama--Llama-2-7b-hf.json"),
            llama.layers.size() * llama.layers[0].key_dim / 2);  // rotary frequencies
  const ModelShape gpt2 = shape_of_file("openai-community--gpt2.json");
  EXPECT_EQ(surplus("openai-community--gpt2.json"),
            gpt2.layers.size() * gpt2.context * gpt2.context);  // masks
  const ModelShape qwen3 = shape_of_file("Qwen--Qwen3-0.6B.json");
  EXPECT_EQ(surplus("Qwen--Qwen3-0.6B.json"), qwen3.vocabulary * qwen3.hidden);  // a stored head
  EXPECT_EQ(surplus("THUDM--glm-4-9b.json"), 32U);

  // Llama 3.2's vision tower: 32 layers of 1280, and 8 with gates; the embeddings of patches, of
  // their places and of tiles; and the projection of 6 of its layers into the text.
  const std::uint64_t seen = 4ULL * 1280 * 1280 + 2ULL * 1280 * 5120 + 5120 + 1280 + 4ULL * 1280;
  const std::uint64_t places = 1601ULL * 1280;
  const std::uint64_t tiles = 9ULL * 4 * 1280 + 1;
  EXPECT_EQ(surplus("meta-llama--Llama-3.2-11B-Vision-Instruct.json"),
            32 * seen + 8 * (seen + 2) + 3ULL * 14 * 14 * 1280 + 1280 + places + 9ULL * 4 * places +
                1 + 2 * tiles + 4ULL * 1280 + 6ULL * 1280 * 4096 + 4096);

  // One layer more, fed by a projection of two rows, and three norms.
  const ModelShape mimo = shape_of_file("XiaomiMiMo--MiMo-7B-Base.json");
  const std::uint64_t layer = (elements_of(mimo, "layers") + elements_of(mimo, "bias")) / 36;
  EXPECT_EQ(surplus("XiaomiMiMo--MiMo-7B-Base.json"),
            layer + 2 * mimo.hidden * mimo.hidden + 3 * mimo.hidden);

  // One scale for 32 weights of MXFP4, one for 128 × 128 of FP8.
  const ModelShape oss = shape_of_file("openai--gpt-oss-20b.json");
  EXPECT_EQ(surplus("openai--gpt-oss-20b.json"), elements_of(oss, "layers.experts") / 32);
  const ModelShape minimax = shape_of_file("MiniMaxAI--MiniMax-M2.5.json");
  std::uint64_t scales = 0;
  for (const Parameter& part : minimax.parameters) {
    if (part.kind != ParameterKind::matrix && part.kind != ParameterKind::expert) continue;
    if (part.name == "layers.router") continue;
    scales += part.count * part.rows * part.columns / (128ULL * 128);
  }
  EXPECT_EQ(surplus("MiniMaxAI--MiniMax-M2.5.json"), scales);
}

TEST(ConfigShape, SharedFilesInDetail) {
  if (!is_there("google--gemma-4-E2B-it.json")) GTEST_SKIP() << "no " << shared_data("configs");

  // The last 20 of 35 layers own no cache.
  const ModelShape gemma4 = shape_of_file("google--gemma-4-E2B-it.json");
  for (std::size_t i = 0; i < 35; ++i) EXPECT_EQ(gemma4.layers[i].shares_cache, i >= 15) << i;
  EXPECT_EQ(gemma4.layers[3].window, 512U);
  EXPECT_EQ(gemma4.layers[3].key_dim, 256U);
  EXPECT_EQ(gemma4.layers[4].key_dim, 512U);

  // An indexer's keys, in each layer or in those that choose for the ones after them.
  const auto indexed = [](const LayerShape& layer) { return layer.indexer_dim == 128; };
  EXPECT_EQ(count_layers(shape_of_file("deepseek-ai--DeepSeek-V3.2.json"), indexed), 61U);
  EXPECT_EQ(count_layers(shape_of_file("zai-org--GLM-5.2.json"), indexed), 21U);

  // Numbered from 1: the fourth layer attends.
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
  EXPECT_FALSE(v4.exact);

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
  EXPECT_EQ(vision.layers[3].attention, Attention::none);  // an image's
  EXPECT_EQ(count_layers(vision, [](const LayerShape& layer) { return layer.heads != 0; }), 32U);
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
  EXPECT_TRUE(shape_of_file("Qwen--Qwen3.5-0.8B.json").tied);  // beside and in text_config
  EXPECT_FALSE(shape_of_file("Qwen--Qwen3.5-27B.json").tied);  // beside text_config only
}

constexpr std::string_view kSmall =
    R"("hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 100)";

ModelShape small(const std::string& more) {
  return shape_of_config("{" + std::string(kSmall) + "," + more + "}");
}

TEST(ConfigShape, AnUnknownArchitectureIsPlannedFromItsGenericFields) {
  const ModelShape shape = small(R"("model_type": "foo", "num_key_value_heads": 2)");
  EXPECT_EQ(shape.architecture, "foo");
  EXPECT_EQ(summary_of(shape), (Summary{.full = 4, .dense = 4, .keys = 64, .values = 64}));
  EXPECT_FALSE(shape.exact);
  EXPECT_EQ(shape.parameter_count(), std::nullopt);
  ASSERT_EQ(shape.warnings.size(), 2U);
  EXPECT_THAT(shape.warnings[0], HasSubstr("unknown architecture foo"));
  EXPECT_THAT(shape.warnings[1], HasSubstr("tensors of foo"));
}

TEST(ConfigShape, AnUnknownArchitecturesOwnListsCount) {
  const ModelShape shape =
      small(R"("model_type": "foo", "sliding_window": 16, "layer_types":)"
            R"( ["sliding_attention", "full_attention", "sliding_attention", "full_attention"])");
  EXPECT_EQ(summary_of(shape).windowed, 2U);
  EXPECT_EQ(shape.layers[0].window, 16U);
}

TEST(ConfigShape, ANamelessModelIsNamedByItsClass) {
  EXPECT_EQ(small(R"("architectures": ["FooForCausalLM"])").architecture, "FooForCausalLM");
}

TEST(ConfigShape, TheTextDecodersFieldsComeFirst) {
  const ModelShape shape = shape_of_config(
      R"({"model_type": "foo_vl", "hidden_size": 7, "vocab_size": 50, "vision_config":)"
      R"( {"hidden_size": 9}, "text_config": {"model_type": "llama", "hidden_size": 64,)"
      R"( "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 8}})");
  EXPECT_EQ(shape.architecture, "llama");
  EXPECT_EQ(shape.hidden, 64U);
  EXPECT_EQ(shape.vocabulary, 50U);
  EXPECT_TRUE(shape.exact);
}

TEST(ConfigShape, WindowsThatAreSwitchedOnStartAtTheirLayer) {
  const ModelShape shape =
      small(R"("model_type": "qwen2", "sliding_window": 32, "use_sliding_window": true,)"
            R"( "max_window_layers": 3)");
  EXPECT_EQ(shape.layers[2].attention, Attention::full);
  EXPECT_EQ(shape.layers[3].attention, Attention::windowed);
  EXPECT_FALSE(shape.exact);
}

TEST(ConfigShape, AWindowPatternMayBeLettersOrNumbers) {
  const ModelShape letters =
      small(R"("model_type": "exaone4", "sliding_window": 32, "sliding_window_pattern": "LLG")");
  EXPECT_EQ(letters.layers[1].attention, Attention::windowed);
  EXPECT_EQ(letters.layers[2].attention, Attention::full);
  EXPECT_EQ(letters.layers[3].attention, Attention::windowed);
  const ModelShape numbers =
      small(R"("model_type": "llama4", "attention_chunk_size": 32, "no_rope_layers": [1, 0, 0, 1],)"
            R"( "num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size": 8)");
  EXPECT_EQ(numbers.layers[0].attention, Attention::chunked);
  EXPECT_EQ(numbers.layers[1].attention, Attention::full);
}

TEST(ConfigShape, ExpertsMayBeInSomeLayers) {
  const std::string moe = R"("num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 8,)"
                          R"( "moe_intermediate_size": 16, "model_type": "qwen3_moe")";
  const auto with_experts = [&](const std::string& rule) {
    std::string layers;
    for (const LayerShape& layer : small(moe + rule).layers) {
      layers += layer.experts != 0 ? 'E' : '-';
    }
    return layers;
  };
  EXPECT_EQ(with_experts(""), "EEEE");
  EXPECT_EQ(with_experts(R"(, "decoder_sparse_step": 2)"), "-E-E");
  EXPECT_EQ(with_experts(R"(, "decoder_sparse_step": 2, "mlp_only_layers": [1])"), "---E");
  EXPECT_EQ(with_experts(R"(, "first_k_dense_replace": 3)"), "---E");
  EXPECT_EQ(with_experts(R"(, "first_k_dense_replace": 1, "moe_layer_freq": 2)"), "--E-");
  EXPECT_EQ(with_experts(R"(, "moe_layer_freq": [0, 1, 1, 0])"), "-EE-");
  EXPECT_EQ(with_experts(R"(, "expert_layer_period": 2, "expert_layer_offset": 0)"), "E-E-");
  EXPECT_EQ(with_experts(R"(, "mlp_layer_types": ["dense", "sparse", "sparse", "dense"])"), "-EE-");
}

TEST(ConfigShape, AConfigOfSomethingElseHasNoLayers) {
  const ModelShape shape = shape_of_config(R"({"model_type": "llama", "image_size": 224})");
  EXPECT_TRUE(shape.layers.empty());
  EXPECT_FALSE(shape.exact);
  ASSERT_EQ(shape.warnings.size(), 1U);
  EXPECT_THAT(shape.warnings[0], HasSubstr("num_hidden_layers"));
}

/// What cannot be, and the key that the error is to name.
struct Impossible {
  std::string_view text;
  std::string_view key;
};

std::ostream& operator<<(std::ostream& out, const Impossible& input) { return out << input.text; }

class ImpossibleConfig : public testing::TestWithParam<Impossible> {};

TEST_P(ImpossibleConfig, IsRefusedByTheKeyThatStatesIt) {
  const std::string text =
      R"({"model_type": "llama", )" + std::string(GetParam().text) + R"(, "last": 0})";
  const std::string key(GetParam().key);
  const auto error = thrown<FormatError>([&] { static_cast<void>(shape_of_config(text)); });
  EXPECT_EQ(error.path(), "config.json");
  EXPECT_THAT(error.what(), HasSubstr(key));
  const std::size_t at = text.find('"' + key + '"');
  EXPECT_EQ(error.offset(), at == std::string::npos ? 0 : at);
}

constexpr Impossible kImpossible[] = {
    {R"("num_hidden_layers": 1000000000)", "num_hidden_layers"},
    {R"("num_hidden_layers": 18446744073709551615)", "num_hidden_layers"},
    {R"("num_hidden_layers": -1)", "num_hidden_layers"},
    {R"("num_hidden_layers": 1.5)", "num_hidden_layers"},
    {R"("num_hidden_layers": 1e300)", "num_hidden_layers"},
    {R"("num_hidden_layers": "many")", "num_hidden_layers"},
    {R"("vocab_size": 9, "num_hidden_layers": 0, "hidden_size": 8)", "num_hidden_layers"},
    {R"("num_hidden_layers": 1)", "vocab_size"},
    {R"("num_hidden_layers": 1, "vocab_size": 0)", "vocab_size"},
    {R"("num_hidden_layers": 1, "vocab_size": 9)", "hidden_size"},
    {R"("num_hidden_layers": 1, "vocab_size": 9, "hidden_size": 4294967296)", "hidden_size"},
    {R"("num_hidden_layers": 1, "vocab_size": 9, "hidden_size": 8)", "num_attention_heads"},
    {R"("num_hidden_layers": 1, "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 0)",
     "num_attention_heads"},
    {R"("num_hidden_layers": 1, "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2,)"
     R"( "num_key_value_heads": 0)",
     "num_key_value_heads"},
    {R"("num_hidden_layers": 2, "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2,)"
     R"( "layer_types": ["full_attention"])",
     "layer_types"},
    {R"("num_hidden_layers": 1, "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2,)"
     R"( "layer_types": ["telepathy"])",
     "layer_types"},
    {R"("num_hidden_layers": 2, "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2,)"
     R"( "num_kv_shared_layers": 3)",
     "num_kv_shared_layers"},
    {R"("num_hidden_layers": 1, "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2,)"
     R"( "num_local_experts": 2, "num_experts_per_tok": 3)",
     "num_experts_per_tok"},
    // Figures that are fine one by one.
    {R"("num_hidden_layers": 4096, "vocab_size": 9, "hidden_size": 2147483647,)"
     R"( "num_attention_heads": 1, "intermediate_size": 2147483647)",
     "hidden_size"},
    {R"("num_hidden_layers": 1, "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2,)"
     R"( "n_groups": 2147483647, "state_size": 2147483647, "layer_types": ["mamba"],)"
     R"( "model_type": "mamba2")",
     "state_size"},
};

INSTANTIATE_TEST_SUITE_P(Figures, ImpossibleConfig, testing::ValuesIn(kImpossible));

}  // namespace
}  // namespace tapedeck::tests
