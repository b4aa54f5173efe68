#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "model/architectures.hpp"
#include "model/gguf/gguf.hpp"
#include "model/shapes.hpp"
#include "model/shared_data.hpp"
#include "model/tensor_directory_builder.hpp"
#include "model/tensor_names.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using testing::HasSubstr;

/// A header that a test makes up.
class Header {
 public:
  explicit Header(std::string architecture) : architecture_(std::move(architecture)) {
    metadata_.add("general.architecture", architecture_, 24);
  }

  /// Adds a key of the architecture.
  Header& with(const std::string& key, Metadata::Value value) {
    metadata_.add(architecture_ + "." + key, std::move(value), ++offset_);
    return *this;
  }
  Header& with(const std::string& key, int number) {
    return with(key, Metadata::Value(static_cast<std::uint64_t>(number)));
  }
  Header& with(const std::string& key, std::vector<std::int64_t> numbers) {
    return with(key, Metadata::Value(std::move(numbers)));
  }
  Header& with_tensor(std::string_view name, std::uint64_t rows, std::uint64_t columns) {
    TensorEntry tensor{.name = name, .rank = 2, .bytes = rows * columns * 4};
    tensor.dimensions = {rows, columns};
    tensors_.push_back(tensor);
    return *this;
  }

  [[nodiscard]] Metadata& metadata() { return metadata_; }
  [[nodiscard]] ModelShape shape() const {
    internal::TensorDirectoryBuilder builder;
    builder.begin_file({.path = "a.gguf"});
    for (TensorEntry tensor : tensors_) {
      tensor.id = internal::part_id_of(tensor.name);
      builder.add(tensor, 0);
    }
    return internal::gguf_shape("a.gguf", metadata_, std::move(builder).finish());
  }

 private:
  std::string architecture_;
  std::uint64_t offset_ = 100;
  Metadata metadata_;
  std::vector<TensorEntry> tensors_;
};

/// Four layers of eight heads.
Header small_header(const std::string& architecture) {
  Header header(architecture);
  header.with("block_count", 4)
      .with("embedding_length", 64)
      .with("attention.head_count", 8)
      .with("feed_forward_length", 128)
      .with("vocab_size", 100);
  return header;
}

TEST(GgufShape, ReadsEverySharedFile) {
  const std::vector<IndexRow> rows = index_of("gguf");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("gguf");
  std::size_t planned = 0;
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file"));
    const std::filesystem::path path = shared_data("gguf") / row.at("file");
    const Model model = internal::read_gguf(path);
    const ModelShape shape = internal::gguf_shape(path.string(), model.metadata, model.tensors);
    if (!shape.layers.empty()) ++planned;
  }
  EXPECT_EQ(planned, 17U);  // the others are vocabularies, or no language models
}

TEST(GgufShape, AHeaderThatSaysTooLittleHasNoLayers) {
  EXPECT_TRUE(Header("llama").shape().layers.empty());
  EXPECT_TRUE(Header("").shape().layers.empty());
  const ModelShape narrow = Header("llama").with("block_count", 2).shape();
  EXPECT_TRUE(narrow.layers.empty());
  EXPECT_FALSE(narrow.exact);
  ASSERT_EQ(narrow.warnings.size(), 1U);
  EXPECT_THAT(narrow.warnings[0], HasSubstr("llama.embedding_length"));
  const ModelShape headless =
      Header("llama").with("block_count", 2).with("embedding_length", 8).shape();
  ASSERT_EQ(headless.warnings.size(), 1U);
  EXPECT_THAT(headless.warnings[0], HasSubstr("llama.attention.head_count"));
}

TEST(GgufShape, KeysThatAreAbsentFollowFromOthers) {
  const ModelShape shape = small_header("llama").shape();
  EXPECT_EQ(shape.layers[0].kv_heads, 8U);
  EXPECT_EQ(shape.layers[0].key_dim, 8U);
  EXPECT_EQ(shape.layers[0].value_dim, 8U);
  // One of the two head sizes says nothing of the other.
  const ModelShape wide = small_header("llama").with("attention.key_length", 32).shape();
  EXPECT_EQ(wide.layers[0].key_dim, 32U);
  EXPECT_EQ(wide.layers[0].value_dim, 8U);
}

TEST(GgufShape, TheVocabularyHasThreeSources) {
  Header header("llama");
  header.with_tensor("token_embd.weight", 30, 64);
  EXPECT_EQ(header.shape().vocabulary, 30U);
  header.metadata().add("tokenizer.ggml.tokens", Metadata::Omitted{40});
  EXPECT_EQ(header.shape().vocabulary, 40U);
  header.with("vocab_size", 50);
  EXPECT_EQ(header.shape().vocabulary, 50U);
}

TEST(GgufShape, TensorsTellWhatTheMetadataLeavesOut) {
  Header header("llama");
  header.with("block_count", 2)
      .with("attention.head_count", 4)
      .with("feed_forward_length", 8)
      .with("expert_count", 2)
      .with("expert_used_count", 1)
      .with_tensor("token_embd.weight", 30, 64);
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
  Header header("lfm2");
  header.with("block_count", 4)
      .with("embedding_length", 64)
      .with("attention.head_count", 8)
      .with("attention.head_count_kv", {0, 2, 0, 4})
      .with("feed_forward_length", {10, 20, 30, 40})
      .with("shortconv.l_cache", 3)
      .with("vocab_size", 100);
  const ModelShape shape = header.shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 2,
                                        .stateful = 2,
                                        .dense = 4,
                                        .keys = 48,
                                        .values = 48,
                                        .convolution = 2ULL * 64 * 2}));
  EXPECT_EQ(shape.layers[3].kv_heads, 4U);
  EXPECT_EQ(shape.layers[2].ffn, 30U);
}

// Nemotron-NAS: layers without attention, though they keep no state either.
TEST(GgufShape, AListsZeroIsNoAttention) {
  const ModelShape shape =
      small_header("deci").with("attention.head_count_kv", {2, 0, 1, 0}).shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 2, .dense = 4, .keys = 24, .values = 24}));
  EXPECT_TRUE(shape.exact);
}

TEST(GgufShape, WindowsFollowTheEnginesRules) {
  const auto windows = [](const std::string& architecture, int window = 16, int layers = 8) {
    std::string kinds;
    Header header(architecture);
    header.with("block_count", layers).with("embedding_length", 64).with("attention.head_count", 8);
    if (window >= 0) header.with("attention.sliding_window", window);
    for (const LayerShape& layer : header.shape().layers) {
      kinds += layer.attention == Attention::full ? '-' : to_string(layer.attention)[0];
    }
    return kinds;
  };
  EXPECT_EQ(windows("gemma2"), "w-w-w-w-");
  EXPECT_EQ(windows("gemma2", -1), "w-w-w-w-");  // 4096
  EXPECT_EQ(windows("gemma3"), "wwwww-ww");
  EXPECT_EQ(windows("gemma3", -1), "--------");
  EXPECT_EQ(windows("gemma3n"), "wwww-www");
  EXPECT_EQ(windows("cohere2"), "www-www-");
  EXPECT_EQ(windows("olmo2"), "www-www-");
  EXPECT_EQ(windows("olmo2", -1), "--------");  // OLMo 2 proper
  EXPECT_EQ(windows("plamo3"), "wwwwwww-");
  EXPECT_EQ(windows("afmoe"), "www-www-");
  EXPECT_EQ(windows("afmoe", -1), "--------");
  // Full ones come first.
  EXPECT_EQ(windows("smallthinker"), "-www-www");
  EXPECT_EQ(windows("smallthinker", -1), "--------");
  EXPECT_EQ(windows("smallthinker", 0), "--------");
  EXPECT_EQ(windows("laguna"), "-www-www");
  EXPECT_EQ(windows("cohere2moe"), "-www-www");
  EXPECT_EQ(windows("exaone-moe", -1), "www-www-");  // 128
  EXPECT_EQ(windows("lfm2"), "wwwwwwww");
  EXPECT_EQ(windows("lfm2", -1), "--------");
  EXPECT_EQ(windows("lfm2moe"), "--------");
  // The engine knows the one EXAONE 4 with windows by its depth.
  EXPECT_EQ(windows("exaone4"), "--------");
  EXPECT_EQ(windows("exaone4", 4096, 64).substr(0, 8), "www-www-");
  EXPECT_EQ(windows("gpt-oss"), "w-w-w-w-");
  EXPECT_EQ(windows("llama4"), "ccc-ccc-");
  EXPECT_EQ(windows("llama4", -1), "ccc-ccc-");
  EXPECT_EQ(windows("llama4", 0), "--------");
  // Engines keep every token of these.
  for (const char* name : {"llama", "phi3", "phimoe", "mistral3", "starcoder2", "qwen2", "qwen3"}) {
    EXPECT_EQ(windows(name), "--------") << name;
  }
}

TEST(GgufShape, SomeWindowsAreTheEnginesOwn) {
  const auto first_window = [](const Header& header) {
    for (const LayerShape& layer : header.shape().layers) {
      if (layer.window != 0) return layer.window;
    }
    return std::uint64_t{0};
  };
  EXPECT_EQ(first_window(small_header("smallthinker").with("attention.sliding_window", 16)), 4096U);
  EXPECT_EQ(first_window(small_header("llama4").with("attention.chunk_size", 16)), 8192U);
  EXPECT_EQ(first_window(small_header("afmoe").with("attention.sliding_window", 16)), 16U);
}

// load_swa_pattern of the engine takes a list before a period.
TEST(GgufShape, AListOfWindowsCountsWhereTheEngineReadsOne) {
  const auto kinds = [](const std::string& architecture) {
    Header header = small_header(architecture);
    header.with("attention.sliding_window", 16)
        .with("attention.sliding_window_pattern", {0, 1, 1, 0});
    std::string text;
    for (const LayerShape& layer : header.shape().layers) {
      text += layer.attention == Attention::windowed ? 'w' : '-';
    }
    return text;
  };
  EXPECT_EQ(kinds("gemma4"), "-ww-");
  EXPECT_EQ(kinds("mimo2"), "-ww-");
  EXPECT_EQ(kinds("step35"), "-ww-");
  EXPECT_EQ(kinds("cohere2moe"), "-ww-");
  EXPECT_EQ(kinds("foo"), "-ww-");  // nothing better is known of it
  EXPECT_EQ(kinds("gemma2"), "-ww-");
  EXPECT_EQ(kinds("gemma3n"), "-ww-");
  EXPECT_EQ(kinds("gpt-oss"), "-ww-");
  EXPECT_EQ(kinds("llama"), "----");  // it knows no windows there
  EXPECT_EQ(kinds("lfm2"), "wwww");
}

// MiMo-V2: KV heads of each layer, and heads whose K is wider than V.
TEST(GgufShape, AWindowedLayersHeadsAreStatedApart) {
  Header header = small_header("mimo2");
  header.with("attention.sliding_window", 16)
      .with("attention.sliding_window_pattern", {0, 1, 1, 0})
      .with("attention.head_count_kv", {1, 2, 2, 1})
      .with("attention.key_length", 24)
      .with("attention.value_length", 16)
      .with("attention.key_length_swa", 12);
  const ModelShape shape = header.shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 2,
                                        .windowed = 2,
                                        .dense = 4,
                                        .keys = 2ULL * 24,
                                        .values = 2ULL * 16,
                                        .window_keys = 2ULL * 2 * 12,
                                        .window_values = 2ULL * 2 * 16}));
  EXPECT_TRUE(shape.exact);
}

TEST(GgufShape, Gemma4sDensePartStandsBesideItsExperts) {
  const ModelShape shape = small_header("gemma4")
                               .with("attention.sliding_window", 16)
                               .with("expert_count", 8)
                               .with("expert_used_count", 2)
                               .with("expert_feed_forward_length", 24)
                               .shape();
  EXPECT_EQ(shape.layers[0].experts, 8U);
  EXPECT_EQ(shape.layers[0].expert_ffn, 24U);
  EXPECT_EQ(shape.layers[0].shared_ffn, 128U);
}

// OpenELM, Laguna: where no head size is stated, it follows from the first layer's heads.
TEST(GgufShape, OneHeadSizeForLayersOfDifferentHeads) {
  const ModelShape shape = Header("openelm")
                               .with("block_count", 2)
                               .with("embedding_length", 64)
                               .with("attention.head_count", {4, 8})
                               .with("attention.head_count_kv", {1, 2})
                               .shape();
  EXPECT_EQ(shape.layers[0].key_dim, 16U);
  EXPECT_EQ(shape.layers[1].key_dim, 16U);
  EXPECT_EQ(summary_of(shape).keys, 3U * 16);
}

TEST(GgufShape, IndexersMayBeShared) {
  const auto owners = [](const std::string& architecture, int context, bool list = false) {
    Header header(architecture);
    header.with("block_count", 8)
        .with("embedding_length", 64)
        .with("attention.head_count", 8)
        .with("attention.head_count_kv", 1)
        .with("attention.key_length", 20)
        .with("attention.key_length_mla", 12)
        .with("attention.kv_lora_rank", 16)
        .with("attention.indexer.key_length", 4)
        .with("context_length", context);
    if (list) header.with("attention.indexer.types", {1, 0, 0, 1, 0, 0, 1, 0});
    std::string text;
    for (const LayerShape& layer : header.shape().layers) {
      text += layer.indexer_dim == 4 ? 'i' : '-';
    }
    return text;
  };
  EXPECT_EQ(owners("deepseek32", 163'840), "iiiiiiii");
  EXPECT_EQ(owners("glm-dsa", 202'752), "iiiiiiii");     // GLM-5
  EXPECT_EQ(owners("glm-dsa", 1'048'576), "iii---i-");   // GLM-5.2
  EXPECT_EQ(owners("glm-dsa", 4096, true), "i--i--i-");  // as the header says
}

TEST(GgufShape, AWindowPatternMayBeAPeriodOrAList) {
  const ModelShape period = small_header("gemma3")
                                .with("attention.sliding_window", 16)
                                .with("attention.sliding_window_pattern", 2)
                                .shape();
  EXPECT_EQ(period.layers[0].attention, Attention::windowed);
  EXPECT_EQ(period.layers[1].attention, Attention::full);

  const ModelShape list = small_header("gemma4")
                              .with("attention.sliding_window", 16)
                              .with("attention.sliding_window_pattern", {1, 0, 0, 1})
                              .with("attention.head_count_kv", {2, 1, 1, 2})
                              .with("attention.key_length", 32)
                              .with("attention.value_length", 32)
                              .with("attention.key_length_swa", 16)
                              .with("attention.value_length_swa", 16)
                              .with("attention.shared_kv_layers", 1)
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
  EXPECT_TRUE(list.exact);
}

TEST(GgufShape, Gemma3nsLaterLayersShareTheCachesOfTheFirstTwenty) {
  Header header("gemma3n");
  header.with("block_count", 30).with("embedding_length", 64).with("attention.head_count", 8);
  const auto owns = [](const LayerShape& layer) { return !layer.shares_cache; };
  EXPECT_EQ(count_layers(header.shape(), owns), 20U);
  header.with("attention.shared_kv_layers", 12);  // which the engine does not read
  EXPECT_EQ(count_layers(header.shape(), owns), 20U);
}

TEST(GgufShape, LatentAttentionKeepsOneRowOnlyInHeadersWrittenForIt) {
  const auto deepseek = [] {
    return small_header("deepseek2")
        .with("attention.kv_lora_rank", 16)
        .with("rope.dimension_count", 4)
        .with("attention.value_length", 6);
  };
  const ModelShape latent = deepseek()
                                .with("attention.head_count_kv", 1)
                                .with("attention.key_length", 20)
                                .with("attention.key_length_mla", 12)
                                .shape();
  EXPECT_EQ(summary_of(latent), (Summary{.full = 4, .dense = 4, .keys = 80}));
  EXPECT_EQ(latent.layers[0].attention, Attention::latent);
  EXPECT_TRUE(latent.exact);

  const ModelShape whole = deepseek().with("attention.key_length", 12).shape();
  EXPECT_EQ(summary_of(whole),
            (Summary{.full = 4, .dense = 4, .keys = 4ULL * 8 * 12, .values = 4ULL * 8 * 6}));
  EXPECT_FALSE(whole.exact);
  ASSERT_EQ(whole.warnings.size(), 1U);
  EXPECT_THAT(whole.warnings[0], HasSubstr("key_length_mla"));
}

TEST(GgufShape, StatesFollowTheEnginesRules) {
  const auto state_of = [](const std::string& name, const std::vector<std::int64_t>& kv = {}) {
    Header header = small_header(name);
    if (!kv.empty()) header.with("attention.head_count_kv", kv);
    header.with("ssm.conv_kernel", 4)
        .with("ssm.inner_size", 32)
        .with("ssm.state_size", 16)
        .with("ssm.time_step_rank", 4)
        .with("ssm.group_count", 2)
        .with("kda.head_dim", 4)
        .with("wkv.head_size", 16);
    return summary_of(header.shape());
  };
  // Mamba-1 has no groups; all others convolve two groups of 16 for B and for C (or Q and K).
  EXPECT_EQ(state_of("mamba").convolution, 4U * 3 * 32);
  EXPECT_EQ(state_of("mamba2").convolution, 4U * 3 * (32 + 2 * 2 * 16));
  EXPECT_EQ(state_of("mamba2").state, 4U * 32 * 16);
  EXPECT_EQ(state_of("mamba2").full, 0U);
  EXPECT_EQ(state_of("jamba", {0, 0, 8, 0}).stateful, 3U);
  EXPECT_EQ(state_of("jamba", {0, 0, 8, 0}).full, 1U);
  EXPECT_EQ(state_of("plamo2", {0, 8, 0, 8}).convolution, 2U * 3 * (32 + 2 * 2 * 16));
  EXPECT_EQ(state_of("plamo2", {0, 8, 0, 8}).full, 2U);
  EXPECT_EQ(state_of("falcon-h1").stateful, 4U);  // beside the attention of every layer
  EXPECT_EQ(state_of("falcon-h1").full, 4U);
  EXPECT_EQ(state_of("qwen3next").stateful, 3U);  // all but every fourth
  EXPECT_EQ(state_of("qwen3next").full, 1U);
  EXPECT_EQ(state_of("qwen35").convolution, 3U * 3 * (32 + 2 * 2 * 16));
  // Kimi's delta attention is as wide as its attention: 8 heads of 4.
  EXPECT_EQ(state_of("kimi-linear", {0, 0, 0, 1}).convolution, 3U * 3 * 3 * 8 * 4);
  EXPECT_EQ(state_of("kimi-linear", {0, 0, 0, 1}).state, 3U * 8 * 4 * 4);
  EXPECT_EQ(state_of("rwkv7").convolution, 4U * 2 * 64);
  EXPECT_EQ(state_of("rwkv7").state, 4U * 64 * 16);
}

TEST(GgufShape, AnIntervalMayBeStated) {
  Header header = small_header("qwen35");
  header.with("ssm.inner_size", 32).with("ssm.state_size", 16).with("full_attention_interval", 2);
  EXPECT_EQ(summary_of(header.shape()).full, 2U);
}

// GLM-4.5 and Qwen3.5: the last block drafts tokens, and is no layer of the decoder.
TEST(GgufShape, DraftLayersKeepNothing) {
  EXPECT_EQ(small_header("glm4moe").with("nextn_predict_layers", 1).shape().layers.size(), 3U);
  EXPECT_THROW(static_cast<void>(small_header("glm4moe").with("nextn_predict_layers", 4).shape()),
               FormatError);
}

TEST(GgufShape, AnUnknownArchitectureIsPlannedFromItsGenericFields) {
  const ModelShape shape = small_header("foo").with("attention.head_count_kv", 2).shape();
  EXPECT_EQ(summary_of(shape), (Summary{.full = 4, .dense = 4, .keys = 64, .values = 64}));
  EXPECT_FALSE(shape.exact);
  ASSERT_EQ(shape.warnings.size(), 1U);
  EXPECT_THAT(shape.warnings[0], HasSubstr("unknown architecture foo"));
}

TEST(GgufShape, WhatNoFigureConfirmsIsSaid) {
  EXPECT_TRUE(small_header("qwen3").shape().exact);  // as Qwen3-MoE's, for which there are figures
  EXPECT_TRUE(small_header("olmo2").shape().exact);  // by the engine's source
  const ModelShape shape = small_header("modern-bert").shape();
  EXPECT_FALSE(shape.exact);
  ASSERT_EQ(shape.warnings.size(), 1U);
  EXPECT_THAT(shape.warnings[0], HasSubstr("rules of modern-bert"));
}

struct ImpossibleKey {
  std::string key;
  Metadata::Value value;
  std::string architecture = "llama";
};

std::ostream& operator<<(std::ostream& out, const ImpossibleKey& input) { return out << input.key; }

class ImpossibleHeader : public testing::TestWithParam<ImpossibleKey> {};

TEST_P(ImpossibleHeader, IsRefusedByTheKeyThatStatesIt) {
  Header header(GetParam().architecture);
  header.with(GetParam().key, GetParam().value);  // the first of a key counts
  header.with("block_count", 4)
      .with("embedding_length", 64)
      .with("attention.head_count", 8)
      .with("ssm.inner_size", 2147483647)
      .with("ssm.state_size", 2147483647)
      .with("expert_count", 2)
      .with("vocab_size", 100);
  const auto error = thrown<FormatError>([&] { static_cast<void>(header.shape()); });
  EXPECT_EQ(error.path(), "a.gguf");
  EXPECT_EQ(error.offset(), 101U);
  EXPECT_THAT(error.what(), HasSubstr(GetParam().architecture + "." + GetParam().key));
}

using List = std::vector<std::int64_t>;

const ImpossibleKey kImpossibleKeys[] = {
    {"block_count", std::uint64_t{1'000'000'000}},
    {"block_count", std::uint64_t{4097}},
    {"block_count", std::uint64_t{0}},
    {"block_count", std::int64_t{-1}},
    {"block_count", std::string("many")},
    {"embedding_length", std::uint64_t{0}},
    {"embedding_length", ~std::uint64_t{0}},
    {"attention.head_count", std::uint64_t{0}},
    {"attention.head_count", std::int64_t{-8}},
    {"attention.head_count_kv", std::uint64_t{0}},
    {"attention.head_count_kv", List{2, 2, 2}},
    {"attention.head_count_kv", List{2, 2, -2, 2}},
    {"attention.key_length", std::uint64_t{1} << 31U},
    {"vocab_size", std::uint64_t{1} << 40U},
    {"feed_forward_length", List{}},
    {"expert_used_count", std::uint64_t{3}},
    {"attention.shared_kv_layers", std::uint64_t{5}},
    {"wkv.head_size", std::uint64_t{0}, "rwkv7"},
    {"full_attention_interval", std::uint64_t{0}, "qwen3next"},
    {"ssm.inner_size", std::uint64_t{0}, "mamba"},
    {"ssm.state_size", std::uint64_t{0}, "mamba"},
};

INSTANTIATE_TEST_SUITE_P(Figures, ImpossibleHeader, testing::ValuesIn(kImpossibleKeys));

TEST(GgufShape, AnErrorSaysWhatIsWrong) {
  Header header("llama");
  header.with("block_count", Metadata::Value(std::int64_t{-7}));
  const auto error = thrown<FormatError>([&] { static_cast<void>(header.shape()); });
  EXPECT_EQ(error.path(), "a.gguf");
  EXPECT_EQ(error.offset(), 101U);
  EXPECT_FALSE(error.advice().empty());
}

TEST(GgufShape, AStateOfNoOrOfAnySizeIsRefused) {
  Header lfm2 = small_header("lfm2");
  lfm2.with("attention.head_count_kv", {0, 0, 0, 0}).with("shortconv.l_cache", 0);
  EXPECT_THROW(static_cast<void>(lfm2.shape()), FormatError);
  Header mamba2 = small_header("mamba2");
  mamba2.with("ssm.group_count", 2147483647).with("ssm.state_size", 2147483647);
  EXPECT_THROW(static_cast<void>(mamba2.shape()), FormatError);
}

}  // namespace
}  // namespace tapedeck::tests
