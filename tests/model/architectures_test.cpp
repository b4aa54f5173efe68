// SPDX-License-Identifier: Apache-2.0
#include "model/architectures.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/shapes.hpp"
#include "model/words.hpp"

namespace tapedeck::tests {
namespace {

using internal::Architecture;
using internal::Dialect;
using internal::States;
using internal::Windows;

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> all;
  while (!text.empty()) all.emplace_back(internal::next_word(text));
  return all;
}

std::vector<std::string> names_of(const Architecture& row, Dialect dialect) {
  std::vector<std::string> names = words(row.both);
  for (const std::string& name : words(row.names(dialect))) names.push_back(name);
  return names;
}

std::string name_of(const Architecture& row) {
  return names_of(row, names_of(row, Dialect::gguf).empty() ? Dialect::config : Dialect::gguf)
      .front();
}

TEST(Architectures, EveryNameIsInOneRow) {
  for (const Dialect dialect : {Dialect::gguf, Dialect::config}) {
    std::set<std::string> seen;
    for (const Architecture& row : internal::architectures()) {
      for (const std::string& name : names_of(row, dialect)) {
        EXPECT_FALSE(name.empty()) << "two blanks in the row of " << name_of(row);
        EXPECT_TRUE(seen.insert(name).second) << name << " is twice there";
        EXPECT_EQ(&internal::find_architecture(dialect, name), &row) << name;
      }
    }
  }
}

TEST(Architectures, WhatIsNotThereIsNotFound) {
  for (const Dialect dialect : {Dialect::gguf, Dialect::config}) {
    for (const char* name : {"", " ", "foo", "llam", "llama ", "LLAMA"}) {
      EXPECT_FALSE(internal::find_architecture(dialect, name).known()) << name;
    }
  }
}

TEST(Architectures, TheFamiliesOfTheDayAreThere) {
  const auto expect_known = [](Dialect dialect, std::string_view names) {
    for (const std::string& name : words(names)) {
      EXPECT_TRUE(internal::find_architecture(dialect, name).known()) << name;
    }
  };
  expect_known(
      Dialect::gguf,
      "llama qwen2 qwen3 qwen2moe qwen3moe qwen3next qwen35 gemma gemma2 gemma3 gemma3n "
      "gemma4 phi2 phi3 phimoe deepseek2 deepseek32 minicpm3 gpt-oss gpt2 gptneox falcon "
      "falcon-h1 mpt bloom starcoder starcoder2 command-r cohere2 olmo olmo2 olmoe stablelm "
      "internlm2 chatglm glm4 glm4moe kimi-linear nemotron nemotron_h mamba mamba2 jamba "
      "granite granitehybrid lfm2 rwkv7 smollm3 exaone exaone4 minimax-m2 llama4 bert mimo2 "
      "openelm smallthinker afmoe plamo2 rwkv6 arwkv7 lfm2moe glm-dsa nomic-bert "
      "jina-bert-v2 dots1 ernie4_5 bitnet orion baichuan xverse refact plamo apertus "
      "seed_oss hunyuan-moe hunyuan-dense");
  expect_known(
      Dialect::config,
      "llama mistral mixtral qwen qwen2 qwen2_moe qwen3 qwen3_moe qwen3_next qwen3_5 "
      "qwen3_5_moe gemma gemma2 gemma3_text gemma3n_text gemma4_text phi phi3 phimoe "
      "deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 kimi_linear minicpm minicpm3 gpt_oss "
      "gpt2 gpt_neox falcon falcon_h1 mpt bloom gpt_bigcode starcoder2 cohere cohere2 olmo "
      "olmo2 olmo3 olmoe stablelm internlm2 chatglm glm4 glm4_moe glm_moe_dsa nemotron "
      "nemotron_h nemotron-nas mamba mamba2 jamba granite granitemoehybrid lfm2 rwkv7 "
      "smollm3 exaone exaone4 minimax_m2 llama4_text opt bert");
}

TEST(Architectures, RowsAreConsistent) {
  for (const Architecture& row : internal::architectures()) {
    const bool gguf = !names_of(row, Dialect::gguf).empty();
    const bool config = !names_of(row, Dialect::config).empty();
    ASSERT_TRUE(gguf || config);
    SCOPED_TRACE(name_of(row));
    EXPECT_EQ(row.windows.of == Windows::but_last_of || row.windows.of == Windows::but_first_of,
              row.windows.period != 0);
    EXPECT_EQ(row.state.in == States::none, row.state.kind == Recurrence::none);
    EXPECT_TRUE(gguf || (row.tested & (internal::kSource | internal::kEngine)) == 0);
    if ((row.tested & internal::kCount) != 0) {
      EXPECT_TRUE(config);
      EXPECT_FALSE(row.has(internal::kUnknownParameters));
    }
    EXPECT_FALSE(row.has(internal::kHeadNorms) && row.has(internal::kWideNorms));
    EXPECT_FALSE(row.has(internal::kOneNorm) && row.has(internal::kFourNorms));
  }
}

/// A shape with figures that only other architectures use has warnings of these, too.
bool has_confirmed_rules(const ModelShape& shape) {
  return std::ranges::none_of(shape.warnings, [](const std::string& warning) {
    return warning.starts_with("the rules for ");
  });
}

/// Figures with everything that any rule needs: 6 layers, of which the third has no KV heads.
constexpr std::string_view kGgufFigures =
    "block_count=6 embedding_length=64 attention.head_count=4 attention.head_count_kv=2,2,0,2,2,2 "
    "feed_forward_length=96 vocab_size=128 context_length=1024 ssm.conv_kernel=4 "
    "ssm.inner_size=128 ssm.state_size=16 ssm.group_count=1 ssm.time_step_rank=4 "
    "shortconv.l_cache=3 wkv.head_size=16 attention.sliding_window=32 attention.kv_lora_rank=8 "
    "attention.key_length_mla=12 rope.dimension_count=4";

TEST(Architectures, EveryRowMakesALayerOfAGgufHeader) {
  std::size_t made = 0;
  for (const Architecture& row : internal::architectures()) {
    for (const std::string& name : names_of(row, Dialect::gguf)) {
      SCOPED_TRACE(name);
      ++made;
      const ModelShape shape = MadeHeader(name, kGgufFigures).shape();
      ASSERT_EQ(shape.layers.size(), 6U);
      EXPECT_EQ(has_confirmed_rules(shape), row.confirmed(Dialect::gguf));
      EXPECT_EQ(shape.encoder, row.has(internal::kEncoder));
      const Summary kept = summary_of(shape);
      const bool windows =
          row.windows.of != Windows::none && row.windows.of != Windows::above_first;
      EXPECT_EQ(kept.windowed != 0,
                windows && !row.has(internal::kWindowlessEngine) && row.windowed_depth == 0);
      EXPECT_EQ(kept.stateful != 0,
                row.state.in != States::none && row.state.in != States::without_kv_and_ffn);
      EXPECT_EQ(kept.full + kept.windowed == 0, row.state.in == States::all);
      EXPECT_EQ(std::ranges::count(shape.layers, Attention::latent, &LayerShape::attention) != 0,
                row.has(internal::kLatent));
    }
  }
  EXPECT_GE(made, 60U);
}

constexpr std::string_view kConfigFigures =
    "hidden_size=64 num_hidden_layers=6 num_attention_heads=4 num_key_value_heads=2 "
    "intermediate_size=96 vocab_size=128 max_position_embeddings=1024 sliding_window=32 "
    "attention_chunk_size=32 kv_lora_rank=8 qk_rope_head_dim=4 qk_nope_head_dim=8 v_head_dim=8 "
    "mamba_d_state=16 mamba_d_conv=4 linear_num_value_heads=4 linear_value_head_dim=16 "
    "linear_num_key_heads=2 linear_key_head_dim=16 conv_L_cache=3 head_size=16 "
    "attn_layer_period=3 attn_layer_offset=1";

TEST(Architectures, EveryRowMakesAModelOfAConfig) {
  std::size_t made = 0;
  for (const Architecture& row : internal::architectures()) {
    for (const std::string& name : names_of(row, Dialect::config)) {
      SCOPED_TRACE(name);
      ++made;
      const ModelShape shape = shape_of_words(name, kConfigFigures);
      EXPECT_EQ(shape.architecture, name);
      ASSERT_EQ(shape.layers.size(), 6U);
      EXPECT_EQ(shape.tied, row.has(internal::kTied));
      EXPECT_EQ(has_confirmed_rules(shape), row.confirmed(Dialect::config));
      EXPECT_EQ(shape.parameter_count().has_value(), !row.has(internal::kUnknownParameters));
      const Summary kept = summary_of(shape);
      EXPECT_EQ(kept.windowed != 0,
                row.windows.of == Windows::but_last_of || row.windows.of == Windows::all);
      EXPECT_EQ(kept.stateful != 0, row.state.in != States::none);
      EXPECT_EQ(kept.full + kept.windowed == 0, row.state.in == States::all);
    }
  }
  EXPECT_GE(made, 80U);
}

TEST(Words, AreFoundWhole) {
  for (const char* word : {"a", "bc", "d"}) EXPECT_TRUE(internal::has_word("a bc d", word));
  for (const char* word : {"b", "a bc", ""}) EXPECT_FALSE(internal::has_word("a bc d", word));
  EXPECT_FALSE(internal::has_word("", ""));
}

TEST(Names, OfKindsAreWords) {
  EXPECT_STREQ(to_string(Attention::none), "none");
  EXPECT_STREQ(to_string(Attention::latent), "latent");
  EXPECT_STREQ(to_string(Recurrence::gated_delta), "gated delta");
  EXPECT_STREQ(to_string(Recurrence::rwkv), "rwkv");
}

}  // namespace
}  // namespace tapedeck::tests
