// SPDX-License-Identifier: Apache-2.0
// GGUF files that are not Llama models, or not ones that can be decoded, are refused before a
// weight is read.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "llama/gguf_model.hpp"
#include "llama/llama_model.hpp"
#include "llama/support.hpp"
#include "model/shared_data.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

Refusal refusal_of_file(const std::filesystem::path& file) {
  return refusal_of(file, [](const auto& path) { llama::LlamaModel{path}; });
}

class GgufLlamaTest : public ::testing::Test {
 protected:
  using enum FormatFault;

  void SetUp() override {
    if (kThreadSanitized) GTEST_SKIP() << kOneThread;
  }

  Refusal refusal_of_model(const GgufModel& model) {
    return refusal_of_file(folder_.write("m.gguf", model.bytes()));
  }
  Refusal refusal_after(const std::function<void(GgufModel&)>& change,
                        const GgufFigures& figures = {}) {
    GgufModel model = made_gguf(figures);
    change(model);
    return refusal_of_model(model);
  }
  template <class... Value>
  Refusal refusal_with(const char* key, Value... value) {
    return refusal_after([&](GgufModel& m) { m.set(key, value...); });
  }
  Refusal refusal_without(const char* key) {
    return refusal_after([&](GgufModel& m) { m.remove(key); });
  }

  TempFolder folder_;
};

TEST_F(GgufLlamaTest, OtherModelsAreNamed) {
  const auto not_decoded = [](const char* key) { return Refusal{key, unsupported}; };
  EXPECT_EQ(refusal_after([](GgufModel&) {}), kTaken);
  constexpr const char* kArchitecture = "general.architecture";
  EXPECT_EQ(refusal_with(kArchitecture, "qwen3"), not_decoded(kArchitecture));
  EXPECT_EQ(refusal_with(kArchitecture, "\x1b[2J"), not_decoded(kArchitecture));
  EXPECT_EQ(refusal_without(kArchitecture), (Refusal{kArchitecture, missing}));
  constexpr const char* kExperts = "llama.expert_count";
  EXPECT_EQ(refusal_with(kExperts, gguf_type::u32, std::uint32_t{8}), not_decoded(kExperts));
  EXPECT_EQ(refusal_with(kExperts, gguf_type::u32, std::uint32_t{0}), kTaken);
  for (const char* key :
       {"llama.rope.scaling.attn_factor", "llama.attention.clamp_kqv", "llama.attention.scale",
        "llama.logit_scale", "llama.residual_scale", "llama.embedding_scale"}) {
    EXPECT_EQ(refusal_with(key, gguf_type::f32, 2.0F), not_decoded(key));
  }
  constexpr const char* kCausal = "llama.attention.causal";
  EXPECT_EQ(refusal_with(kCausal, gguf_type::boolean, false), not_decoded(kCausal));
  constexpr const char* kScaling = "llama.rope.scaling.type";
  EXPECT_EQ(refusal_with(kScaling, "yarn"), not_decoded(kScaling));
  EXPECT_EQ(refusal_after([](GgufModel& m) {
              m.set_array("llama.attention.head_count_kv", gguf_type::i32,
                          std::vector<std::int32_t>{2, 1});
            }),
            not_decoded("llama.block_count"));  // layers with different shapes
}

TEST_F(GgufLlamaTest, FiguresThatMakeNoModelAreNamed) {
  const auto with = [&](const char* key, std::uint32_t value) {
    return refusal_with(key, gguf_type::u32, value);
  };
  for (const char* key : {"llama.feed_forward_length", "llama.context_length"}) {
    EXPECT_EQ(with(key, 0), (Refusal{key, missing}));
  }
  // The reader of the format refuses these.
  for (const char* key : {"llama.embedding_length", "llama.block_count",
                          "llama.attention.head_count", "llama.attention.head_count_kv",
                          "llama.attention.key_length", "llama.attention.value_length"}) {
    EXPECT_NE(with(key, 0), kTaken);
  }
  for (const char* key :
       {"llama.block_count", "llama.context_length", "llama.attention.layer_norm_rms_epsilon"}) {
    EXPECT_EQ(refusal_without(key), (Refusal{key, missing}));
  }
  for (const auto& [key, value] : {std::pair{"llama.attention.head_count_kv", 3U},
                                   {"llama.attention.key_length", 15U},
                                   {"llama.rope.dimension_count", 8U}}) {
    EXPECT_EQ(with(key, value), (Refusal{key, contradictory}));
  }
  for (const char* key : {"llama.rope.freq_base", "llama.rope.scaling.factor",
                          "llama.attention.layer_norm_rms_epsilon"}) {
    for (const float value : {0.0F, -1.0F, std::numeric_limits<float>::quiet_NaN()}) {
      EXPECT_EQ(refusal_with(key, gguf_type::f32, value), (Refusal{key, out_of_range}));
    }
  }
}

// The error names what a missing tensor is, because the file has no name for it.
TEST_F(GgufLlamaTest, EveryTensorMustBeThereInItsShape) {
  const GgufFigures untied = {.tied = false};
  for (const GgufTensor& tensor : made_gguf(untied).tensors) {
    const auto remove = [&](GgufModel& m) { m.remove_tensor(tensor.name); };
    // Without a classifier the model is tied.
    EXPECT_EQ(refusal_after(remove, untied).fault,
              tensor.name == "output.weight" ? std::optional<FormatFault>{} : missing)
        << tensor.name;
    const auto widen = [&](GgufModel& m) {
      GgufTensor& one = m.tensor(tensor.name);
      one.shape.back() += 1;
      one.store(DType::f32, std::vector<float>(one.elements(), 1.0F));
    };
    EXPECT_EQ(refusal_after(widen, untied), (Refusal{tensor.name, contradictory}));
  }
  EXPECT_EQ(refusal_after([](GgufModel& m) { m.remove_tensor("blk.1.attn_k.weight"); }).field,
            "key of layer 1");
  EXPECT_EQ(refusal_after([](GgufModel& m) {
              m.tensor("blk.1.attn_k.weight").shape = {64, 32};
            }),
            (Refusal{"blk.1.attn_k.weight", contradictory}));
}

TEST_F(GgufLlamaTest, ATensorThatWouldBeLeftOutIsNamed) {
  const auto with = [&](const char* name, std::size_t size) {
    return refusal_after([&](GgufModel& m) { m.add(name, {size}, std::vector<float>(size, 1)); });
  };
  for (const char* name : {"blk.0.attn_q.bias", "blk.2.attn_norm.weight", "attn_q.weight",
                           "v.blk.0.attn_q.weight", "blk.0.attn_q_b.weight"}) {
    EXPECT_EQ(with(name, 64), (Refusal{name, unsupported}));
  }
  EXPECT_EQ(with("rope_freqs.weight", 7), (Refusal{"rope_freqs.weight", contradictory}));
}

TEST_F(GgufLlamaTest, TypesThatAreNotDecodedAreNamed) {
  for (const char* name : {"blk.0.attn_norm.weight", "output_norm.weight"}) {
    EXPECT_EQ(refusal_after(
                  [&](GgufModel& m) { m.tensor(name).store(DType::f16, m.tensor(name).values()); }),
              (Refusal{name, unsupported}));
  }
  EXPECT_EQ(refusal_after([](GgufModel& m) {
              m.tensor("blk.1.ffn_up.weight").dtype = DType::iq4_nl;
              m.tensor("blk.1.ffn_up.weight").bytes.assign(std::size_t{100} * 64 / 32 * 18, '\0');
            }),
            (Refusal{"blk.1.ffn_up.weight", unsupported}));
}

TEST_F(GgufLlamaTest, RealFilesThatAreNotDecodedSayWhy) {
  for (const auto& [file, refusal] :
       {std::pair<const char*, Refusal>{"stories260K-Q2_K.gguf",
                                        {"token_embd.weight", unsupported}},
        {"stories260K-Q4_K_M.gguf", {"token_embd.weight", unsupported}},
        {"llama-2-7b-chat-Q4_0.header-only.gguf", {"token_embd.weight", unsupported}},
        {"wimpy-moe.gguf", {"llama.expert_count", unsupported}},
        {"superpoint.gguf", {"general.architecture", unsupported}},
        {"ggml-vocab-falcon.gguf", {"general.architecture", unsupported}},
        {"ggml-vocab-llama-spm.gguf", {"the embedding table", missing}},
        {"docker-dummy.gguf", {"general.architecture", missing}},
        {"weight-inspect-empty.gguf", {"llama.block_count", missing}},
        {"gridcore-test.gguf", kTaken},
        {"llama-2-tiny-random.gguf", kTaken},
        {"stories260K-Q6_K.gguf", kTaken}}) {
    if (const auto why = no_shared_data(std::string("gguf/") + file)) GTEST_SKIP() << *why;
    EXPECT_EQ(refusal_of_file(shared_data("gguf") / file), refusal) << file;
  }
}

TEST_F(GgufLlamaTest, AFileWithoutItsDataIsTold) {
  const std::string bytes = made_gguf().bytes();
  const auto header = read_model(folder_.write("m.gguf", bytes)).tensors.files()[0].data_begin;
  for (const std::size_t length : {std::size_t{header}, header + 1, bytes.size() - 64}) {
    const auto file = folder_.write("cut.gguf", bytes.substr(0, length));
    EXPECT_EQ(refusal_of_file(file).offset, length);
  }
  for (std::size_t length = 0; length < header; length += 1 + length / 16) {
    EXPECT_NE(refusal_of_file(folder_.write("cut.gguf", bytes.substr(0, length))), kTaken)
        << length;
  }
}

}  // namespace
}  // namespace tapedeck::tests
