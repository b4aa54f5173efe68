#include "engine/checkpoint.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <array>
#include <limits>

#include "engine/support.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using engine::Checkpoint;
using engine::Shape;
using engine::Weights;
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
      EXPECT_THAT(host.decoder.forward(0), SizeIs(host.checkpoint.shape().vocab));
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

class CheckpointTest : public ::testing::Test {
 protected:
  std::string refusal_of(const std::string& bytes) {
    return refusal(folder_.write("mutant.bin", bytes));
  }

  TempFolder folder_;
  std::string good_ = content_of(made(folder_, "good.bin", kSmall));
};

TEST_F(CheckpointTest, ReadsTheRealHeaderAndSizesTheTapes) {
  SKIP_WITHOUT_STORIES();
  const Checkpoint checkpoint(kStories / "stories260K.bin");
  const Shape& shape = checkpoint.shape();
  EXPECT_EQ(shape.dim, 64U);
  EXPECT_EQ(shape.ffn, 172U);
  EXPECT_EQ(shape.layers, 5U);
  EXPECT_EQ(shape.heads, 8U);
  EXPECT_EQ(shape.kv_heads, 4U);
  EXPECT_EQ(shape.vocab, 512U);
  EXPECT_EQ(shape.seq_len, 512U);
  EXPECT_FALSE(shape.own_classifier);
  EXPECT_EQ(shape.head_size(), 8U);
  EXPECT_EQ(shape.kv_dim(), 32U);
  // 260,032 weights, and every array happens to be whole lines.
  EXPECT_EQ(checkpoint.plan().weights.bytes(), 260'032U * 4);
  // hidden 256, rotation 64, logits 2048; a layer's four of dim, scores [8][512], gate and up.
  EXPECT_EQ(checkpoint.scratch_bytes(), 256U + 64 + 2048 + 4 * 256 + 8 * 512 * 4 + 2 * 704);
  EXPECT_EQ(checkpoint.plan().history.bytes(), 655'360U);
  EXPECT_EQ(checkpoint.plan(100).history.payload(), 128'000U);
  EXPECT_TRUE(checkpoint.plan().exact);
}

// dim 4, ffn 3, 2 layers, 2 heads, 1 KV head, 5 tokens, length 6: head size 2, kv_dim 2.
constexpr std::size_t kFloatsBeforeClassifier =
    20 + 8 + 32 + 16 + 16 + 32 + 8 + 24 + 24 + 24 + 4 + 6 + 6;

TEST_F(CheckpointTest, PutsEveryArrayInItsPlace) {
  const auto file = folder_.write("c", counted({4, 3, 2, 2, 1, 5, 6}, kFloatsBeforeClassifier));
  const Checkpoint checkpoint(file);
  Layout layout(checkpoint.plan(), checkpoint.options());
  const Weights weights = checkpoint.load(layout);
  struct Expected {
    std::span<const float> array;
    std::size_t first;
    std::size_t count;
  };
  const std::vector<Expected> all = {{weights.token_embedding, 0, 20},
                                     {weights.attention_norm, 20, 8},
                                     {weights.wq, 28, 32},
                                     {weights.wk, 60, 16},
                                     {weights.wv, 76, 16},
                                     {weights.wo, 92, 32},
                                     {weights.ffn_norm, 124, 8},
                                     {weights.w1, 132, 24},
                                     {weights.w2, 156, 24},
                                     {weights.w3, 180, 24},
                                     {weights.final_norm, 204, 4},
                                     {weights.classifier, 0, 20}};
  for (const Expected& one : all) {
    ASSERT_EQ(one.array.size(), one.count);
    EXPECT_EQ(one.array.front(), static_cast<float>(one.first));
    EXPECT_EQ(one.array.back(), static_cast<float>(one.first + one.count - 1));
    EXPECT_TRUE(layout.weights().owns(one.array.data()));
  }
  EXPECT_EQ(layout.weights().used(), checkpoint.plan().weights.bytes());
}

TEST_F(CheckpointTest, NegativeVocabularyMeansAClassifierOfItsOwn) {
  const auto file =
      folder_.write("c", counted({4, 3, 2, 2, 1, -5, 6}, kFloatsBeforeClassifier + 20));
  const Checkpoint checkpoint(file);
  EXPECT_TRUE(checkpoint.shape().own_classifier);
  EXPECT_EQ(checkpoint.shape().vocab, 5U);
  Layout layout(checkpoint.plan(), checkpoint.options());
  const Weights weights = checkpoint.load(layout);
  EXPECT_THAT(weights.classifier, SizeIs(20));
  EXPECT_EQ(weights.classifier.front(), static_cast<float>(kFloatsBeforeClassifier));
  EXPECT_EQ(layout.weights().used(), checkpoint.plan().weights.bytes());
}

TEST_F(CheckpointTest, NamesTheFieldThatIsWrong) {
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
      {1, std::numeric_limits<std::int32_t>::max(), "ends inside w1"},
      {6, 21, "ends inside freq_cis_imag"},
      {6, 19, "but the file goes on to"},
      {5, -300, "ends inside wcls"},
      {0, 0x46554747, "GGUF"},
      {0, 0x616b3432, "--version 0"},
  };
  for (const Case& one : cases) {
    std::string bytes = good_;
    overwrite(bytes, one.field * 4, one.value);
    EXPECT_THAT(refusal_of(bytes), HasSubstr(one.says));
  }
}

TEST_F(CheckpointTest, ProductsThatOverflowAreRefused) {
  constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
  std::string bytes = good_;
  for (const std::size_t field : {0U, 1U, 5U, 6U}) overwrite(bytes, field * 4, most - 1);
  overwrite(bytes, 8, std::int32_t{60'000});
  overwrite(bytes, 12, std::int32_t{1});
  overwrite(bytes, 16, std::int32_t{1});
  EXPECT_THAT(refusal_of(bytes), HasSubstr("the header claims more than any file holds"));
}

TEST_F(CheckpointTest, AProductThatWrapsToNothingIsRefused) {
  // 4 layers of 2^30 x 2^30 floats are 2^64 bytes: nothing at all, if nobody looks. The rest of the
  // model fits in a file of holes: embedding 1, norms 8, ffn 12 and the final norm 1 times 2^30.
  const std::uint64_t dim = std::uint64_t{1} << 30;
  const std::array<std::int32_t, 7> header = {1 << 30, 1, 4, 1 << 29, 1 << 29, 1, 1};
  const std::uint64_t floats = 22 * dim + 2;
  const auto file = folder_.write("wraps.bin", counted(header, 0));
  std::error_code error;
  std::filesystem::resize_file(file, engine::kHeaderBytes + floats * sizeof(float), error);
  if (error) GTEST_SKIP() << "no sparse file of 88 GiB here: " << error.message();
  EXPECT_THROW(Checkpoint{file}, FormatError);
}

TEST_F(CheckpointTest, NastyFieldsAreRefusedOrTaken) {
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

TEST_F(CheckpointTest, EveryTruncationIsRefusedWhereTheFileEnds) {
  std::size_t step = 1;
  for (std::size_t length = 0; length < good_.size(); length += step) {
    if (length > 64) step = 997;
    const auto file = folder_.write("cut.bin", std::string_view(good_).substr(0, length));
    try {
      const Checkpoint checkpoint(file);
      ADD_FAILURE() << length << " bytes were taken for a checkpoint";
    } catch (const FormatError& error) {
      EXPECT_EQ(error.offset(), length);
      EXPECT_THAT(error.what(), HasSubstr("ends inside"));
    }
  }
}

TEST_F(CheckpointTest, TrailingBytesAreRefused) {
  EXPECT_THAT(refusal_of(good_ + "x"),
              HasSubstr("byte " + std::to_string(good_.size()) + ": a model of this header"));
}

TEST_F(CheckpointTest, RandomDamageNeverCrashes) {
  std::mt19937_64 random(20'240'607);
  int taken = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    taken += refusal_of(damaged(good_, engine::kHeaderBytes, random)).empty() ? 1 : 0;
  }
  EXPECT_GT(taken, kRounds / 20);  // damaged weights are weights
  EXPECT_LT(taken, kRounds / 2);
}

TEST_F(CheckpointTest, OpeningAllocatesNothingOfTheModel) {
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
  const Checkpoint checkpoint(file);
  EXPECT_GT(checkpoint.plan().weights.bytes(), 250_GiB);
  EXPECT_EQ(checkpoint.plan().history.bytes(), std::size_t{2} * 80 * 1024 * 4 * 4096);
}

TEST_F(CheckpointTest, AFileThatShrinksWhileItIsReadIsRefused) {
  const auto file = folder_.write("shrinking.bin", good_);
  const Checkpoint checkpoint(file);
  Layout layout(checkpoint.plan(), checkpoint.options());
  std::filesystem::resize_file(file, good_.size() / 2);
  try {
    static_cast<void>(checkpoint.load(layout));
    ADD_FAILURE() << "half a file was loaded";
  } catch (const FormatError& error) {
    EXPECT_EQ(error.offset(), good_.size() / 2);
  }
}

TEST_F(CheckpointTest, WhatIsNoFileIsRefused) {
  EXPECT_THROW(Checkpoint(folder_.path()), InvalidArgument);
  const auto fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THROW(Checkpoint{fifo}, InvalidArgument);  // and does not wait for a writer
  try {
    const Checkpoint checkpoint(folder_ / "missing");
    ADD_FAILURE();
  } catch (const SystemError& error) {
    EXPECT_EQ(error.number(), ENOENT);
    EXPECT_EQ(error.path(), (folder_ / "missing").string());
  }
}

TEST_F(CheckpointTest, EveryRefusalOfTheSystemIsReported) {
  const auto file = folder_ / "good.bin";
  Layout layout(Checkpoint(file).plan());
  std::uint64_t failed = 0;
  for (std::uint64_t call = 1;; ++call) {
    const os::InjectFault fault(call, EIO);
    try {
      static_cast<void>(Checkpoint(file).load(layout));
      EXPECT_FALSE(os::InjectFault::fired());
      break;
    } catch (const SystemError& error) {
      EXPECT_TRUE(os::InjectFault::fired());
      EXPECT_EQ(error.number(), EIO);
      EXPECT_EQ(error.call(), os::InjectFault::victim());
      EXPECT_EQ(error.path(), file.string());
      ++failed;
    }
  }
  // To plan and to load: open and fstat; the header, and each array but the classifier.
  EXPECT_EQ(failed, 2U * 2 + 1 + 11);
}

}  // namespace
}  // namespace tapedeck::tests
