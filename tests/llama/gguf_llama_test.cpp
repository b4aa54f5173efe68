// What of GGUF files is no Llama model, or none that is decoded, is told before a weight is read.
#include "llama/gguf_llama.hpp"

#include <gmock/gmock.h>

#include <functional>
#include <limits>

#include "llama/gguf_model.hpp"
#include "llama/support.hpp"
#include "model/shared_data.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using llama::LlamaModel;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string refusal_of_file(const std::filesystem::path& file) {
  try {
    const LlamaModel model(file);
    return {};
  } catch (const FormatError& error) {
    EXPECT_EQ(error.path(), file.string());
    EXPECT_LE(error.offset(), std::filesystem::file_size(file));
    return std::string("FormatError: ") + error.what();
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), HasSubstr(file.string()));
    EXPECT_FALSE(error.advice().empty());
    return std::string("InvalidArgument: ") + error.what();
  }
}

class GgufLlamaTest : public ::testing::Test {
 protected:
  std::string refusal_of(const GgufModel& model) {
    return refusal_of_file(folder_.write("m.gguf", model.bytes()));
  }
  std::string refusal_after(const std::function<void(GgufModel&)>& change) {
    GgufModel model = made_gguf();
    change(model);
    return refusal_of(model);
  }

  TempFolder folder_;
};

TEST_F(GgufLlamaTest, OtherModelsAreNamed) {
  EXPECT_EQ(refusal_after([](GgufModel&) {}), "");
  EXPECT_THAT(refusal_after([](GgufModel& m) { m.set("general.architecture", "qwen3"); }),
              HasSubstr("the architecture qwen3 is not decoded"));
  EXPECT_THAT(refusal_after([](GgufModel& m) { m.remove("general.architecture"); }),
              HasSubstr("does not say which architecture"));
  const auto with = [&](const char* key, auto type, auto value) {
    return refusal_after([&](GgufModel& m) { m.set(key, type, value); });
  };
  EXPECT_THAT(with("llama.expert_count", gguf_type::u32, std::uint32_t{8}),
              HasSubstr("llama.expert_count asks for experts (MoE)"));
  EXPECT_EQ(with("llama.expert_count", gguf_type::u32, std::uint32_t{0}), "");
  EXPECT_THAT(with("llama.logit_scale", gguf_type::f32, 2.0F), HasSubstr("scaled logits"));
  EXPECT_THAT(with("llama.rope.scaling.attn_factor", gguf_type::f32, 2.0F),
              HasSubstr("scaled attention"));
  EXPECT_THAT(with("llama.attention.causal", gguf_type::boolean, false), HasSubstr("no decoder"));
  EXPECT_THAT(refusal_after([](GgufModel& m) { m.set("llama.rope.scaling.type", "yarn"); }),
              HasSubstr("llama.rope.scaling.type yarn is not decoded"));
  EXPECT_THAT(refusal_after([](GgufModel& m) {
                m.set_array("llama.attention.head_count_kv", gguf_type::i32,
                            std::vector<std::int32_t>{2, 1});
              }),
              HasSubstr("layers of different shapes"));
}

TEST_F(GgufLlamaTest, FiguresThatMakeNoModelAreNamed) {
  const auto with = [&](const char* key, std::uint32_t value) {
    return refusal_after([&](GgufModel& m) { m.set(key, gguf_type::u32, value); });
  };
  for (const char* key :
       {"llama.embedding_length", "llama.feed_forward_length", "llama.block_count",
        "llama.attention.head_count", "llama.attention.head_count_kv", "llama.context_length",
        "llama.attention.key_length", "llama.attention.value_length"}) {
    EXPECT_THAT(with(key, 0), AllOf(HasSubstr("FormatError"), HasSubstr(key))) << key;
  }
  for (const char* key :
       {"llama.block_count", "llama.context_length", "llama.attention.layer_norm_rms_epsilon"}) {
    EXPECT_THAT(refusal_after([&](GgufModel& m) { m.remove(key); }),
                AllOf(HasSubstr("FormatError"), HasSubstr(key)));
  }
  EXPECT_THAT(with("llama.attention.head_count_kv", 3), HasSubstr("does not divide head_count 4"));
  EXPECT_THAT(with("llama.attention.key_length", 15), HasSubstr("is odd"));
  EXPECT_THAT(with("llama.rope.dimension_count", 8), HasSubstr("is 8, and a head has 16"));
  for (const char* key : {"llama.rope.freq_base", "llama.rope.scaling.factor",
                          "llama.attention.layer_norm_rms_epsilon"}) {
    for (const float value : {0.0F, -1.0F, std::numeric_limits<float>::quiet_NaN()}) {
      EXPECT_THAT(refusal_after([&](GgufModel& m) { m.set(key, gguf_type::f32, value); }),
                  HasSubstr(std::string(key) + " is no positive number"));
    }
  }
}

TEST_F(GgufLlamaTest, EveryTensorMustBeThereInItsShape) {
  const std::vector<GgufTensor> tensors = made_gguf({.tied = false}).tensors;
  for (const GgufTensor& tensor : tensors) {
    GgufModel model = made_gguf({.tied = false});
    model.remove_tensor(tensor.name);
    if (tensor.name != "output.weight") {  // without it the model is tied
      EXPECT_THAT(refusal_of(model), HasSubstr("there is no tensor " + tensor.name));
    }
    model = made_gguf({.tied = false});
    model.tensor(tensor.name).shape.back() += 1;
    model.tensor(tensor.name)
        .store(DType::f32, std::vector<float>(model.tensor(tensor.name).elements(), 1.0F));
    EXPECT_THAT(refusal_of(model),
                AllOf(HasSubstr("FormatError"), HasSubstr(tensor.name + " is [")));
  }
  EXPECT_THAT(refusal_after([](GgufModel& m) {
                m.tensor("blk.1.attn_k.weight").shape = {64, 32};
              }),
              HasSubstr("blk.1.attn_k.weight is [64 x 32], and by the model's figures [32 x 64]"));
}

TEST_F(GgufLlamaTest, ATensorThatWouldBeLeftOutIsNamed) {
  EXPECT_THAT(refusal_after([](GgufModel& m) {
                m.add("blk.0.attn_q.bias", {64}, std::vector<float>(64, 1.0F));
              }),
              HasSubstr("the tensor blk.0.attn_q.bias is not decoded"));
  EXPECT_THAT(refusal_after([](GgufModel& m) {
                m.add("blk.2.attn_norm.weight", {64}, std::vector<float>(64, 1.0F));
              }),
              HasSubstr("blk.2.attn_norm.weight"));
  EXPECT_THAT(refusal_after([](GgufModel& m) {
                m.add("rope_freqs.weight", {7}, std::vector<float>(7, 1.0F));
              }),
              HasSubstr("rope_freqs.weight is [7]"));
}

TEST_F(GgufLlamaTest, TypesThatAreNotDecodedAreCounted) {
  EXPECT_THAT(refusal_after([](GgufModel& m) {
                GgufTensor& tensor = m.tensor("blk.0.attn_norm.weight");
                tensor.store(DType::f16, tensor.values());
              }),
              HasSubstr("blk.0.attn_norm.weight is f16; only f32"));
  GgufModel model = made_gguf();
  model.tensor("blk.0.attn_q.weight").dtype = DType::q4_0;
  model.tensor("blk.0.attn_q.weight").bytes.assign(std::size_t{64} * 64 / 32 * 18, '\0');
  for (const char* name : {"blk.0.ffn_up.weight", "blk.1.ffn_up.weight"}) {
    model.tensor(name).dtype = DType::iq4_nl;
    model.tensor(name).bytes.assign(std::size_t{100} * 64 / 32 * 18, '\0');
  }
  EXPECT_THAT(refusal_of(model), AllOf(HasSubstr("q4_0 (1 tensor), iq4_nl (2 tensors)"),
                                       HasSubstr("f32, f16, bf16 or q8_0")));
}

TEST_F(GgufLlamaTest, RealFilesThatAreNotDecodedSayWhy) {
  struct Case {
    const char* file;
    const char* says;
  };
  for (const Case& one : {Case{"stories260K-Q2_K.gguf", "iq4_nl (31 tensors)"},
                          Case{"stories260K-Q4_K_M.gguf", "q5_0 (29 tensors)"},
                          Case{"llama-2-7b-chat-Q4_0.header-only.gguf", "q4_0 (225 tensors), q6_k"},
                          Case{"wimpy-moe.gguf", "experts"}, Case{"superpoint.gguf", "superpoint"},
                          Case{"ggml-vocab-falcon.gguf", "falcon"},
                          Case{"ggml-vocab-llama-spm.gguf", "there is no tensor token_embd.weight"},
                          Case{"docker-dummy.gguf", "architecture"},
                          Case{"weight-inspect-empty.gguf", "llama.block_count"}}) {
    const auto path = shared_data("gguf") / one.file;
    if (const auto why = no_shared_data(std::string("gguf/") + one.file)) GTEST_SKIP() << *why;
    EXPECT_THAT(refusal_of_file(path), HasSubstr(one.says)) << one.file;
  }
  for (const char* file :
       {"gridcore-test.gguf", "llama-2-tiny-random.gguf", "stories260K-Q6_K.gguf"}) {
    EXPECT_EQ(refusal_of_file(shared_data("gguf") / file), "") << file;
  }
}

TEST_F(GgufLlamaTest, AFileWithoutItsDataIsTold) {
  const std::string bytes = made_gguf().bytes();
  const auto header = read_model(folder_.write("m.gguf", bytes)).tensors.files()[0].data_begin;
  for (const std::size_t length : {std::size_t{header}, header + 1, bytes.size() - 64}) {
    const auto file = folder_.write("cut.gguf", bytes.substr(0, length));
    EXPECT_THAT(refusal_of_file(file),
                AllOf(HasSubstr("FormatError"), HasSubstr("ends before its tensors do")));
  }
  for (std::size_t length = 0; length < header; length += 1 + length / 16) {
    EXPECT_NE(refusal_of_file(folder_.write("cut.gguf", bytes.substr(0, length))), "") << length;
  }
}

}  // namespace
}  // namespace tapedeck::tests
