// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "model/refusal.hpp"
#include "model/shapes.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;

/// Four layers of eight heads.
MadeHeader small_header(const std::string& architecture, std::string_view more = "") {
  MadeHeader header(
      architecture,
      "block_count=4 embedding_length=64 attention.head_count=8 feed_forward_length=128 "
      "vocab_size=100");
  return header.with(more);
}

TEST(GgufShape, AHeaderThatSaysTooLittleHasNoLayers) {
  EXPECT_TRUE(MadeHeader("llama").shape().layers.empty());
  EXPECT_TRUE(MadeHeader("").shape().layers.empty());
  MadeHeader header("llama", "block_count=2");
  const ModelShape narrow = header.shape();
  EXPECT_TRUE(narrow.layers.empty());
  EXPECT_FALSE(narrow.exact());
  EXPECT_THAT(narrow.warnings, ElementsAre("llama.embedding_length is missing, so the layers "
                                           "cannot be planned"));
  EXPECT_THAT(
      header.with("embedding_length=8").shape().warnings,
      ElementsAre("llama.attention.head_count is missing, so the layers cannot be planned"));
}

TEST(GgufShape, KeysThatAreAbsentFollowFromOthers) {
  const ModelShape shape = small_header("llama").shape();
  EXPECT_EQ(shape.layers[0].kv_heads, 8U);
  EXPECT_EQ(shape.layers[0].key_dim, 8U);
  EXPECT_EQ(shape.layers[0].value_dim, 8U);
  // One of the two head sizes does not imply the other.
  const ModelShape wide = small_header("llama", "attention.key_length=32").shape();
  EXPECT_EQ(wide.layers[0].key_dim, 32U);
  EXPECT_EQ(wide.layers[0].value_dim, 8U);
}

TEST(GgufShape, TheVocabularyHasThreeSources) {
  MadeHeader header("llama");
  header.with_tensor("token_embd.weight", 30, 64);
  EXPECT_EQ(header.shape().vocabulary, 30U);
  header.metadata().add("tokenizer.ggml.tokens", Metadata::Omitted{40});
  EXPECT_EQ(header.shape().vocabulary, 40U);
  header.with("vocab_size=50");
  EXPECT_EQ(header.shape().vocabulary, 50U);
}

TEST(GgufShape, TensorsTellWhatTheMetadataLeavesOut) {
  MadeHeader header("llama",
                    "block_count=2 attention.head_count=4 feed_forward_length=8 expert_count=2 "
                    "expert_used_count=1");
  header.with_tensor("token_embd.weight", 30, 64);
  EXPECT_EQ(header.shape().hidden, 64U);
  EXPECT_TRUE(header.shape().tied);
  header.with_tensor("blk.1.ffn_gate_inp.weight", 2, 64).with_tensor("output.weight", 30, 64);
  EXPECT_FALSE(header.shape().tied);
  EXPECT_EQ(header.shape().layers[0].experts, 0U);
  EXPECT_EQ(header.shape().layers[0].ffn, 8U);
  EXPECT_EQ(header.shape().layers[1].experts, 2U);
  EXPECT_EQ(header.shape().layers[1].expert_ffn, 8U);
}

TEST(GgufShape, ListsCountElementByElement) {
  const ModelShape shape =
      MadeHeader(
          "lfm2",
          "block_count=4 embedding_length=64 attention.head_count=8 vocab_size=100 "
          "attention.head_count_kv=0,2,0,4 feed_forward_length=10,20,30,40 shortconv.l_cache=3")
          .shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 2,
                                        .stateful = 2,
                                        .dense = 4,
                                        .keys = 48,
                                        .values = 48,
                                        .convolution = 2ULL * 64 * 2}));
  EXPECT_EQ(shape.layers[3].kv_heads, 4U);
  EXPECT_EQ(shape.layers[2].ffn, 30U);
}

// Nemotron-NAS: layers without attention that keep no state either.
TEST(GgufShape, AListsZeroIsNoAttention) {
  const ModelShape shape = small_header("deci", "attention.head_count_kv=2,0,1,0").shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 2, .dense = 4, .keys = 24, .values = 24}));
  EXPECT_TRUE(shape.exact());
}

TEST(GgufShape, WindowsFollowTheEnginesRules) {
  constexpr std::string_view kWindow = "attention.sliding_window=16";
  const auto expect = [](std::string_view names, std::string_view keys, std::string_view layers) {
    while (!names.empty()) {
      const std::string name(internal::next_word(names));
      MadeHeader header(name, "block_count=8 embedding_length=64 attention.head_count=8");
      EXPECT_EQ(letters_of(header.with(keys).shape(), letter_of_attention), layers) << name;
    }
  };
  expect("gemma2 gpt-oss", kWindow, "w-w-w-w-");
  expect("gemma2", "", "w-w-w-w-");  // 4096
  expect("gemma3", kWindow, "wwwww-ww");
  expect("gemma3n", kWindow, "wwww-www");
  expect("cohere2 olmo2 afmoe", kWindow, "www-www-");
  expect("exaone-moe", "", "www-www-");  // 128
  expect("plamo3", kWindow, "wwwwwww-");
  expect("smallthinker laguna cohere2moe", kWindow, "-www-www");  // Full ones come first.
  expect("lfm2", kWindow, "wwwwwwww");
  expect("llama4", kWindow, "ccc-ccc-");
  expect("llama4", "", "ccc-ccc-");
  expect("llama4 smallthinker", "attention.sliding_window=0", "--------");
  expect("gemma3 olmo2 afmoe smallthinker lfm2", "", "--------");  // like OLMo 2 itself
  // Engines keep every token of these models.
  expect("lfm2moe llama phi3 phimoe mistral3 starcoder2 qwen2 qwen3", kWindow, "--------");
  // The engine recognizes the one EXAONE 4 with windows by its number of layers.
  expect("exaone4", kWindow, "--------");
  const MadeHeader deep("exaone4",
                        "block_count=64 embedding_length=64 attention.head_count=8 "
                        "attention.sliding_window=4096");
  EXPECT_EQ(letters_of(deep.shape(), letter_of_attention).substr(0, 8), "www-www-");
  // The engine's load_swa_pattern prefers a list to a period, for models that it knows to have
  // windows.
  constexpr std::string_view kList =
      "attention.sliding_window=16 attention.sliding_window_pattern=0,1,1,0,0,1,1,0";
  expect("gemma4 mimo2 step35 cohere2moe gemma2 gemma3n gpt-oss", kList, "-ww--ww-");
  expect("foo", kList, "-ww--ww-");  // Nothing better is known about it.
  expect("llama", kList, "--------");
  expect("lfm2", kList, "wwwwwwww");
}

TEST(GgufShape, SomeWindowsAreTheEnginesOwn) {
  const auto first_window = [](const MadeHeader& header) {
    for (const LayerShape& layer : header.shape().layers) {
      if (layer.window != 0) return layer.window;
    }
    return std::uint64_t{0};
  };
  EXPECT_EQ(first_window(small_header("smallthinker", "attention.sliding_window=16")), 4096U);
  EXPECT_EQ(first_window(small_header("llama4", "attention.chunk_size=16")), 8192U);
  EXPECT_EQ(first_window(small_header("afmoe", "attention.sliding_window=16")), 16U);
}

// MiMo-V2: the number of KV heads differs per layer, and K is wider than V.
TEST(GgufShape, AWindowedLayersHeadsAreStatedApart) {
  const ModelShape shape =
      small_header("mimo2",
                   "attention.sliding_window=16 attention.sliding_window_pattern=0,1,1,0 "
                   "attention.head_count_kv=1,2,2,1 attention.key_length=24 "
                   "attention.value_length=16 attention.key_length_swa=12")
          .shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 2,
                                        .windowed = 2,
                                        .dense = 4,
                                        .keys = 2ULL * 24,
                                        .values = 2ULL * 16,
                                        .window_keys = 2ULL * 2 * 12,
                                        .window_values = 2ULL * 2 * 16}));
  EXPECT_TRUE(shape.exact());
}

TEST(GgufShape, Gemma4sDensePartStandsBesideItsExperts) {
  const ModelShape shape = small_header("gemma4",
                                        "attention.sliding_window=16 expert_count=8 "
                                        "expert_used_count=2 expert_feed_forward_length=24")
                               .shape();
  EXPECT_EQ(shape.layers[0].experts, 8U);
  EXPECT_EQ(shape.layers[0].expert_ffn, 24U);
  EXPECT_EQ(shape.layers[0].shared_ffn, 128U);
}

// OpenELM, Laguna: if no head size is stated, it follows from the first layer's heads.
TEST(GgufShape, OneHeadSizeForLayersOfDifferentHeads) {
  const ModelShape shape =
      MadeHeader(
          "openelm",
          "block_count=2 embedding_length=64 attention.head_count=4,8 attention.head_count_kv=1,2")
          .shape();
  EXPECT_EQ(shape.layers[0].key_dim, 16U);
  EXPECT_EQ(shape.layers[1].key_dim, 16U);
  EXPECT_EQ(summary_of(shape).keys, 3U * 16);
}

TEST(GgufShape, IndexersMayBeShared) {
  const auto owners = [](const std::string& architecture, std::string_view keys) {
    MadeHeader header(
        architecture,
        "block_count=8 embedding_length=64 attention.head_count=8 "
        "attention.head_count_kv=1 attention.key_length=20 attention.key_length_mla=12 "
        "attention.kv_lora_rank=16 attention.indexer.key_length=4");
    return letters_of(header.with(keys).shape(),
                      [](const LayerShape& layer) { return layer.indexer_dim == 4 ? 'i' : '-'; });
  };
  EXPECT_EQ(owners("deepseek32", "context_length=163840"), "iiiiiiii");
  EXPECT_EQ(owners("glm-dsa", "context_length=202752"), "iiiiiiii");   // GLM-5
  EXPECT_EQ(owners("glm-dsa", "context_length=1048576"), "iii---i-");  // GLM-5.2
  EXPECT_EQ(owners("glm-dsa", "attention.indexer.types=1,0,0,1,0,0,1,0"), "i--i--i-");
}

TEST(GgufShape, AWindowPatternMayBeAPeriodOrAList) {
  const ModelShape period =
      small_header("gemma3", "attention.sliding_window=16 attention.sliding_window_pattern=2")
          .shape();
  EXPECT_EQ(period.layers[0].attention, Attention::windowed);
  EXPECT_EQ(period.layers[1].attention, Attention::full);

  const ModelShape list =
      small_header(
          "gemma4",
          "attention.sliding_window=16 attention.sliding_window_pattern=1,0,0,1 "
          "attention.head_count_kv=2,1,1,2 attention.key_length=32 attention.value_length=32 "
          "attention.key_length_swa=16 attention.value_length_swa=16 attention.shared_kv_layers=1")
          .shape();
  EXPECT_EQ(summary_of(list), (Summary{.full = 2,
                                       .windowed = 2,
                                       .dense = 4,
                                       .keys = 64,
                                       .values = 64,
                                       .window_keys = 64,
                                       .window_values = 64}));
  EXPECT_EQ(list.layers[0].window, 16U);
  EXPECT_FALSE(list.layers[2].shares_cache);
  EXPECT_TRUE(list.layers[3].shares_cache);
  EXPECT_TRUE(list.exact());
}

TEST(GgufShape, Gemma3nsLaterLayersShareTheCachesOfTheFirstTwenty) {
  MadeHeader header("gemma3n", "block_count=30 embedding_length=64 attention.head_count=8");
  EXPECT_EQ(std::ranges::count(header.shape().layers, false, &LayerShape::shares_cache), 20);
  header.with("attention.shared_kv_layers=12");  // which the engine ignores
  EXPECT_EQ(std::ranges::count(header.shape().layers, false, &LayerShape::shares_cache), 20);
}

TEST(GgufShape, LatentAttentionKeepsOneRowOnlyInHeadersWrittenForIt) {
  const auto deepseek = [] {
    return small_header(
        "deepseek2", "attention.kv_lora_rank=16 rope.dimension_count=4 attention.value_length=6");
  };
  const ModelShape latent =
      deepseek()
          .with("attention.head_count_kv=1 attention.key_length=20 attention.key_length_mla=12")
          .shape();
  EXPECT_EQ(summary_of(latent), (Summary{.full = 4, .dense = 4, .keys = 80}));
  EXPECT_EQ(latent.layers[0].attention, Attention::latent);
  EXPECT_TRUE(latent.exact());

  const ModelShape whole = deepseek().with("attention.key_length=12").shape();
  EXPECT_EQ(summary_of(whole),
            (Summary{.full = 4, .dense = 4, .keys = 4ULL * 8 * 12, .values = 4ULL * 8 * 6}));
  EXPECT_FALSE(whole.exact());
  EXPECT_THAT(whole.warnings,
              ElementsAre("attention.key_length_mla is missing, so whole K and V are planned, as "
                          "engines cache them for such files"));
}

TEST(GgufShape, StatesFollowTheEnginesRules) {
  const auto state_of = [](const std::string& name, std::string_view keys = "") {
    return summary_of(small_header(name, keys)
                          .with("ssm.conv_kernel=4 ssm.inner_size=32 ssm.state_size=16 "
                                "ssm.time_step_rank=4 ssm.group_count=2 kda.head_dim=4 "
                                "wkv.head_size=16")
                          .shape());
  };
  // Mamba-1 has no groups; all others convolve two groups of 16 for B and for C (or Q and K).
  EXPECT_EQ(state_of("mamba").convolution, 4U * 3 * 32);
  EXPECT_EQ(state_of("mamba2").convolution, 4U * 3 * (32 + 2 * 2 * 16));
  EXPECT_EQ(state_of("mamba2").state, 4U * 32 * 16);
  EXPECT_EQ(state_of("plamo2", "attention.head_count_kv=0,8,0,8").convolution,
            2U * 3 * (32 + 2 * 2 * 16));
  EXPECT_EQ(state_of("qwen35").convolution, 3U * 3 * (32 + 2 * 2 * 16));
  // Kimi's delta attention is as wide as its attention: 8 heads of 4.
  const Summary kimi = state_of("kimi-linear", "attention.head_count_kv=0,0,0,1");
  EXPECT_EQ(kimi.convolution, 3U * 3 * 3 * 8 * 4);
  EXPECT_EQ(kimi.state, 3U * 8 * 4 * 4);
  EXPECT_EQ(state_of("rwkv7").convolution, 4U * 2 * 64);
  EXPECT_EQ(state_of("rwkv7").state, 4U * 64 * 16);
  const auto expect = [&](const char* name, std::string_view keys, std::size_t stateful,
                          std::size_t full) {
    EXPECT_EQ(state_of(name, keys).stateful, stateful) << name;
    EXPECT_EQ(state_of(name, keys).full, full) << name;
  };
  expect("mamba2", "", 4, 0);
  expect("jamba", "attention.head_count_kv=0,0,8,0", 3, 1);
  expect("plamo2", "attention.head_count_kv=0,8,0,8", 2, 2);
  expect("falcon-h1", "", 4, 4);  // in addition to the attention of every layer
  expect("qwen3next", "", 3, 1);  // all except every fourth
  expect("qwen35", "full_attention_interval=2", 2, 2);
}

// GLM-4.5 and Qwen3.5: the last block drafts tokens, and is not a layer of the decoder.
TEST(GgufShape, DraftLayersKeepNothing) {
  EXPECT_EQ(small_header("glm4moe", "nextn_predict_layers=1").shape().layers.size(), 3U);
}

TEST(GgufShape, AnUnknownArchitectureIsPlannedFromItsGenericFields) {
  const ModelShape shape = small_header("foo", "attention.head_count_kv=2").shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 4, .dense = 4, .keys = 64, .values = 64}));
  EXPECT_FALSE(shape.exact());
  EXPECT_THAT(shape.warnings,
              ElementsAre("unknown architecture foo: planned from its generic fields, with full "
                          "attention in each layer that is not listed as something else"));
}

TEST(GgufShape, WhatNoFigureConfirmsIsSaid) {
  // Like that of Qwen3-MoE, for which measurements exist.
  EXPECT_TRUE(small_header("qwen3").shape().exact());
  EXPECT_TRUE(small_header("olmo2").shape().exact());  // from the engine's source
  const ModelShape shape = small_header("modern-bert").shape();
  EXPECT_FALSE(shape.exact());
  EXPECT_THAT(shape.warnings,
              ElementsAre("the rules for modern-bert are those of its published code; no values "
                          "from an engine or a file confirm them"));
}

using enum FormatFault;

struct ImpossibleKey {
  std::string key;
  Metadata::Value value;
  std::string architecture = "llama";
  FormatFault fault = out_of_range;
};

std::ostream& operator<<(std::ostream& out, const ImpossibleKey& input) { return out << input.key; }

class ImpossibleHeader : public testing::TestWithParam<ImpossibleKey> {};

TEST_P(ImpossibleHeader, IsRefusedByTheKeyThatStatesIt) {
  const auto& [key, value, architecture, fault] = GetParam();
  MadeHeader header(architecture);
  header.with(key, value);  // the first value of a key counts
  header.with(
      "block_count=4 embedding_length=64 attention.head_count=8 ssm.inner_size=2147483647 "
      "ssm.state_size=2147483647 expert_count=2 vocab_size=100");
  EXPECT_EQ(refusal_of([&] { return header.shape(); }),
            (Refusal{101, architecture + "." + key, fault}));
}

using List = std::vector<std::int64_t>;
const ImpossibleKey kImpossibleKeys[] = {
    {"block_count", std::uint64_t{1'000'000'000}},
    {"block_count", std::uint64_t{4097}},
    {"block_count", std::uint64_t{0}},
    {"block_count", std::int64_t{-1}},
    {"block_count", std::string("many"), "llama", wrong_type},
    {"block_count", 1.5, "llama", wrong_type},
    {"embedding_length", std::uint64_t{0}},
    {"embedding_length", ~std::uint64_t{0}},
    {"attention.head_count", std::uint64_t{0}},
    {"attention.head_count", std::int64_t{-8}},
    {"attention.head_count_kv", std::uint64_t{0}},
    {"attention.head_count_kv", List{2, 2, 2}, "llama", missing},
    {"attention.head_count_kv", List{2, 2, -2, 2}},
    {"attention.key_length", std::uint64_t{1} << 31U},
    {"attention.key_length", std::uint64_t{0}},
    {"attention.value_length", std::uint64_t{0}},
    {"ssm.time_step_rank", ~std::uint64_t{0}},
    {"vocab_size", std::uint64_t{1} << 40U},
    {"feed_forward_length", List{}, "llama", missing},
    {"expert_used_count", std::uint64_t{3}, "llama", contradictory},
    {"attention.shared_kv_layers", std::uint64_t{5}, "llama", contradictory},
    {"nextn_predict_layers", std::uint64_t{4}, "glm4moe", contradictory},
    {"wkv.head_size", std::uint64_t{0}, "rwkv7"},
    {"full_attention_interval", std::uint64_t{0}, "qwen3next"},
    {"ssm.inner_size", std::uint64_t{0}, "mamba"},
    {"ssm.state_size", std::uint64_t{0}, "mamba"},
};

INSTANTIATE_TEST_SUITE_P(Figures, ImpossibleHeader, testing::ValuesIn(kImpossibleKeys));

TEST(GgufShape, AStateOfNoOrOfAnySizeIsRefused) {
  MadeHeader lfm2 = small_header("lfm2", "attention.head_count_kv=0,0,0,0 shortconv.l_cache=0");
  EXPECT_EQ(refusal_of([&] { return lfm2.shape(); }),
            (Refusal{107, "lfm2.shortconv.l_cache", out_of_range}));
  MadeHeader mamba2 =
      small_header("mamba2", "ssm.group_count=2147483647 ssm.state_size=2147483647");
  EXPECT_EQ(refusal_of([&] { return mamba2.shape(); }),
            (Refusal{107, "mamba2.ssm.state_size", out_of_range}));
}

}  // namespace
}  // namespace tapedeck::tests
