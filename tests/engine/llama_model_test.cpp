#include "engine/llama_model.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <array>
#include <limits>
#include <set>

#include "engine/support.hpp"
#include "model/llama2c.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using engine::LlamaModel;
using engine::LlamaWeights;
using engine::Shape;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// A checkpoint whose k-th float is k.
std::string counted(const std::array<std::int32_t, 7>& header, std::size_t floats) {
  std::string bytes(sizeof header + floats * sizeof(float), '\0');
  std::memcpy(bytes.data(), header.data(), sizeof header);
  for (std::size_t k = 0; k < floats; ++k) {
    overwrite(bytes, sizeof header + k * sizeof(float), static_cast<float>(k));
  }
  return bytes;
}

// What the file is refused with; "" if it is taken. Whatever is taken can also be decoded with.
std::string refusal(const std::filesystem::path& file) {
  try {
    Host host(file);
    for (int token = 0; token < 2; ++token) {
      EXPECT_THAT(host.decoder.forward(0), SizeIs(host.model.shape().vocab));
      host.layout.clear_pass();
    }
    return {};
  } catch (const FormatError& error) {
    EXPECT_EQ(error.path(), file.string());
    EXPECT_LE(error.offset(), std::filesystem::file_size(file));
    EXPECT_FALSE(error.advice().empty());
    return error.what();
  }
}

class LlamaModelTest : public ::testing::Test {
 protected:
  std::string refusal_of(const std::string& bytes) {
    return refusal(folder_.write("mutant.bin", bytes));
  }

  TempFolder folder_;
  std::string good_ = content_of(made(folder_, "good.bin", kSmall));
};

TEST_F(LlamaModelTest, ReadsTheRealHeaderAndSizesTheTapes) {
  SKIP_WITHOUT_STORIES();
  const LlamaModel model(kStories / "stories260K.bin");
  const Shape& shape = model.shape();
  EXPECT_EQ(shape.dim, 64U);
  EXPECT_EQ(shape.ffn, 172U);
  EXPECT_EQ(shape.layers, 5U);
  EXPECT_EQ(shape.heads, 8U);
  EXPECT_EQ(shape.kv_heads, 4U);
  EXPECT_EQ(shape.vocab, 512U);
  EXPECT_EQ(shape.seq_len, 512U);
  EXPECT_FALSE(shape.own_classifier);
  EXPECT_EQ(shape.key_head(), 8U);
  EXPECT_EQ(shape.value_head(), 8U);
  EXPECT_EQ(shape.key_dim(), 32U);
  EXPECT_FALSE(shape.longer_talks);
  EXPECT_EQ(model.plan().weights.bytes(), 0U);
  EXPECT_EQ(model.plan().scratch.find("decode.gate_up_out")->bytes, 2U * 172 * 4);
  EXPECT_EQ(model.scratch_bytes(), 64U + 8 * 512 * 4);  // rotation, scores [8][512]
  EXPECT_EQ(model.plan().history.bytes(), 655'360U);
  EXPECT_EQ(model.plan(100).history.payload(), 128'000U);
  EXPECT_TRUE(model.plan().exact);
}

// dim 4, ffn 3, 2 layers, 2 heads, 1 KV head, 5 tokens, length 6: head size 2, kv_dim 2.
constexpr std::size_t kFloatsBeforeClassifier =
    20 + 8 + 32 + 16 + 16 + 32 + 8 + 24 + 24 + 24 + 4 + 6 + 6;

struct Placed {
  std::span<const std::byte> bytes;
  std::size_t first;
  std::size_t count;
};

void check_placed(LlamaModel& model, const std::vector<Placed>& all) {
  EXPECT_TRUE(model.weights().warm());
  for (const Placed& one : all) {
    ASSERT_EQ(one.bytes.size(), one.count * sizeof(float));
    float first = 0;
    float last = 0;
    std::memcpy(&first, one.bytes.data(), sizeof first);
    std::memcpy(&last, one.bytes.data() + one.bytes.size() - sizeof last, sizeof last);
    EXPECT_EQ(first, static_cast<float>(one.first));
    EXPECT_EQ(last, static_cast<float>(one.first + one.count - 1));
    const std::span<const std::byte> range = model.weights().range();
    EXPECT_GE(one.bytes.data(), range.data());
    EXPECT_LE(one.bytes.data() + one.bytes.size(), range.data() + range.size());
  }
}

TEST_F(LlamaModelTest, PutsEveryArrayInItsPlace) {
  const auto file = folder_.write("c", counted({4, 3, 2, 2, 1, 5, 6}, kFloatsBeforeClassifier));
  for (const Way way : {Way::automatic, Way::map, Way::read, Way::direct}) {
    LlamaModel model(file, {.way = way});
    const LlamaWeights& arrays = model.arrays();
    ASSERT_THAT(arrays.layers, SizeIs(2));
    std::vector<Placed> all = {{arrays.token_embedding.bytes, 0, 20},
                               {std::as_bytes(arrays.final_norm), 204, 4},
                               {arrays.classifier.bytes, 0, 20}};
    for (std::size_t i = 0; i < 2; ++i) {
      const engine::LayerWeights& layer = arrays.layers[i];
      all.insert(all.end(), {{std::as_bytes(layer.attention_norm), 20 + i * 4, 4},
                             {layer.query.bytes, 28 + i * 16, 16},
                             {layer.key.bytes, 60 + i * 8, 8},
                             {layer.value.bytes, 76 + i * 8, 8},
                             {layer.attention_out.bytes, 92 + i * 16, 16},
                             {std::as_bytes(layer.ffn_norm), 124 + i * 4, 4},
                             {layer.gate.bytes, 132 + i * 12, 12},
                             {layer.down.bytes, 156 + i * 12, 12},
                             {layer.up.bytes, 180 + i * 12, 12}});
    }
    check_placed(model, all);
    EXPECT_EQ(arrays.layers[1].down.rows, 4U);
    EXPECT_EQ(arrays.layers[1].down.columns, 3U);
  }
}

TEST_F(LlamaModelTest, LayoutsShowTheWeightsAsTheyAreLoaded) {
  const LlamaModel model(folder_ / "good.bin");
  Layout one(model.plan(), model.options());
  Layout other(model.plan(), model.options());
  const Stat stat = one.stat();
  EXPECT_EQ(stat.weights.used, model.weights().range().size());
  EXPECT_EQ(one.weights().data(), other.weights().data());
}

TEST_F(LlamaModelTest, NegativeVocabularyMeansAClassifierOfItsOwn) {
  const auto file =
      folder_.write("c", counted({4, 3, 2, 2, 1, -5, 6}, kFloatsBeforeClassifier + 20));
  LlamaModel model(file);
  EXPECT_TRUE(model.shape().own_classifier);
  EXPECT_EQ(model.shape().vocab, 5U);
  check_placed(model, {{model.arrays().classifier.bytes, kFloatsBeforeClassifier, 20}});
}

TEST_F(LlamaModelTest, TellsWhichTensorsEachPartNeeds) {
  const LlamaModel model(folder_ / "good.bin");
  const auto names = [&](std::size_t part) {
    std::vector<std::string_view> all;
    for (const std::uint32_t tensor : model.tensors_of(part)) {
      all.push_back(model.weights()[tensor].name);
    }
    return all;
  };
  ASSERT_EQ(model.parts(), 4U);
  EXPECT_THAT(names(0), ::testing::ElementsAre("token_embedding_table"));
  EXPECT_THAT(names(1), ::testing::UnorderedElementsAre("rms_att_weight", "wq", "wk", "wv", "wo",
                                                        "rms_ffn_weight", "w1", "w2", "w3"));
  EXPECT_EQ(names(1), names(2));
  EXPECT_THAT(names(3), ::testing::ElementsAre("rms_final_weight"));
}

TEST_F(LlamaModelTest, NamesTheFieldThatIsWrong) {
  struct Case {
    std::size_t field;
    std::int32_t value;
    const char* says;
  };
  constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
  const std::vector<Case> cases = {
      {0, 0, "byte 0: dim is 0"},
      {1, 0, "byte 4: hidden_dim is 0"},
      {2, 0, "byte 8: n_layers is 0"},
      {3, 0, "byte 12: n_heads is 0"},
      {4, 0, "byte 16: n_kv_heads is 0"},
      {5, 0, "byte 20: vocab_size is 0"},
      {6, 0, "byte 24: seq_len is 0"},
      {2, -3, "byte 8: n_layers -3 is negative"},
      {6, kLeast, "byte 24: seq_len -2147483648 is negative"},
      {5, kLeast, "byte 20: vocab_size 2147483648 does not fit"},
      {3, 5, "byte 12: n_heads 5 does not divide dim"},
      {3, 8, "byte 12: n_heads 8 makes heads of an odd size"},
      {4, 3, "byte 16: n_kv_heads 3 does not divide n_heads"},
      {4, 8, "byte 16: n_kv_heads 8 does not divide n_heads"},
      {1, std::numeric_limits<std::int32_t>::max(), "bytes are missing"},
      {6, 21, "bytes are missing"},
      {6, 19, "but the file goes on to"},
      {5, -300, "bytes are missing"},
      {0, 0x616b3432, "--version 0"},
  };
  for (const Case& one : cases) {
    std::string bytes = good_;
    overwrite(bytes, one.field * 4, one.value);
    EXPECT_THAT(refusal_of(bytes), HasSubstr(one.says));
  }
  std::string bytes = good_;
  overwrite(bytes, 0, std::int32_t{0x46554747});
  EXPECT_THROW(LlamaModel{folder_.write("mutant.bin", bytes)}, FormatError);  // a GGUF file
}

TEST_F(LlamaModelTest, ProductsThatOverflowAreRefused) {
  constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
  std::string bytes = good_;
  for (const std::size_t field : {0U, 1U, 5U, 6U}) overwrite(bytes, field * 4, most - 1);
  overwrite(bytes, 8, std::int32_t{60'000});
  overwrite(bytes, 12, std::int32_t{1});
  overwrite(bytes, 16, std::int32_t{1});
  EXPECT_THAT(refusal_of(bytes), HasSubstr("the header claims more than any file holds"));
}

TEST_F(LlamaModelTest, AProductThatWrapsToNothingIsRefused) {
  // 4 layers of 2^30 x 2^30 floats are 2^64 bytes: nothing at all, if nobody looks. The rest of the
  // model fits in a file of holes: embedding 1, norms 8, ffn 12 and the final norm 1 times 2^30.
  const std::uint64_t dim = std::uint64_t{1} << 30;
  const std::array<std::int32_t, 7> header = {1 << 30, 1, 4, 1 << 29, 1 << 29, 1, 1};
  const std::uint64_t floats = 22 * dim + 2;
  const auto file = folder_.write("wraps.bin", counted(header, 0));
  std::error_code error;
  std::filesystem::resize_file(file, model::kLlama2cHeader + floats * sizeof(float), error);
  if (error) GTEST_SKIP() << "no sparse file of 88 GiB here: " << error.message();
  EXPECT_THROW(LlamaModel{file}, FormatError);
}

TEST_F(LlamaModelTest, NastyFieldsAreRefusedOrTaken) {
  const std::array<std::int32_t, 16> nasty = {0,
                                              1,
                                              2,
                                              3,
                                              7,
                                              255,
                                              256,
                                              65'535,
                                              65'536,
                                              1 << 20,
                                              1 << 30,
                                              -1,
                                              -2,
                                              -300,
                                              std::numeric_limits<std::int32_t>::max(),
                                              std::numeric_limits<std::int32_t>::min()};
  int refused = 0;
  for (std::size_t field = 0; field < 7; ++field) {
    for (const std::int32_t value : nasty) {
      std::string bytes = good_;
      overwrite(bytes, field * 4, value);
      refused += refusal_of(bytes).empty() ? 0 : 1;
    }
  }
  // No single value of these gives another model of the same size, but for 2 and 1 heads.
  EXPECT_GE(refused, 7 * 16 - 4);
}

TEST_F(LlamaModelTest, EveryTruncationIsRefusedWhereTheFileEnds) {
  std::size_t step = 1;
  for (std::size_t length = 0; length < good_.size(); length += step) {
    if (length > 64) step = 997;
    const auto file = folder_.write("cut.bin", std::string_view(good_).substr(0, length));
    try {
      const LlamaModel model(file);
      ADD_FAILURE() << length << " bytes were taken for a checkpoint";
    } catch (const FormatError& error) {
      EXPECT_EQ(error.offset(), length);
      EXPECT_THAT(error.advice(), HasSubstr("it is cut off"));
    }
  }
}

TEST_F(LlamaModelTest, TrailingBytesAreRefused) {
  EXPECT_THAT(refusal_of(good_ + "x"),
              HasSubstr("byte " + std::to_string(good_.size()) + ": a model of this header"));
}

TEST_F(LlamaModelTest, RandomDamageNeverCrashes) {
  std::mt19937_64 random(20'240'607);
  int taken = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    taken += refusal_of(damaged(good_, model::kLlama2cHeader, random)).empty() ? 1 : 0;
  }
  EXPECT_GT(taken, kRounds / 20);  // damaged weights are weights
  EXPECT_LT(taken, kRounds / 2);
}

TEST_F(LlamaModelTest, OpeningAllocatesNothingOfTheModel) {
  // 70 billion weights that are not there: a hole, whose size agrees with the header.
  const Shape shape = {.dim = 8192,
                       .ffn = 28'672,
                       .layers = 80,
                       .heads = 64,
                       .kv_heads = 8,
                       .vocab = 32'000,
                       .seq_len = 4096};
  const std::array<std::int32_t, 7> header = {8192, 28'672, 80, 64, 8, 32'000, 4096};
  const auto file = folder_.write("hole.bin", counted(header, 0));
  std::error_code error;
  std::filesystem::resize_file(file, *engine::file_bytes(shape), error);
  if (error) GTEST_SKIP() << "no sparse file of 256 GiB here: " << error.message();
  const LlamaModel model(file);
  EXPECT_GT(model.weights().range().size(), 250_GiB);
  EXPECT_EQ(model.plan().history.bytes(), std::size_t{2} * 80 * 1024 * 4 * 4096);
}

TEST_F(LlamaModelTest, AFileThatShrinksWhileItIsReadIsRefused) {
  const auto file = folder_.write("shrinking.bin", good_);
  LlamaModel model(file, {.way = Way::read});
  std::filesystem::resize_file(file, good_.size() / 2);
  EXPECT_THROW(static_cast<void>(model.weights().warm()), FormatError);
}

TEST_F(LlamaModelTest, WhatIsNoFileIsRefused) {
  EXPECT_THROW(LlamaModel(folder_.path()), InvalidArgument);
  const auto fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THROW(LlamaModel{fifo}, InvalidArgument);  // and does not wait for a writer
  try {
    const LlamaModel model(folder_ / "missing");
    ADD_FAILURE();
  } catch (const SystemError& error) {
    EXPECT_EQ(error.number(), ENOENT);
    EXPECT_EQ(error.path(), (folder_ / "missing").string());
  }
}

TEST_F(LlamaModelTest, EveryRefusalOfTheSystemIsReported) {
  const auto file = folder_ / "good.bin";
  std::set<std::string> victims;
  for (std::uint64_t call = 1;; ++call) {
    const os::InjectFault fault(call, EIO);
    try {
      const LlamaModel model(file);
      if (!os::InjectFault::fired()) break;  // else only a courtesy was refused
    } catch (const SystemError& error) {
      EXPECT_TRUE(os::InjectFault::fired());
      EXPECT_EQ(error.number(), EIO);
      EXPECT_EQ(error.call(), os::InjectFault::victim());
      victims.insert(error.call());
    }
  }
  EXPECT_THAT(victims, ::testing::IsSupersetOf({"open", "fstat", "pread", "mmap"}));
}

}  // namespace
}  // namespace tapedeck::tests
