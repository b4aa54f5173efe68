// SPDX-License-Identifier: Apache-2.0
#include "llama/llama_model.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <array>
#include <limits>
#include <set>

#include "base/thrown.hpp"
#include "llama/support.hpp"
#include "model/llama2c/llama2c.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

using llama::LlamaModel;
using llama::Shape;
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

// A model that is accepted can also be used for decoding.
void decode_some(const std::filesystem::path& file) {
  Host host(file);
  for (int token = 0; token < 2; ++token) {
    EXPECT_THAT(next_logits(host.decoder, 0), SizeIs(host.model.shape().vocab));
  }
}

class LlamaModelTest : public ::testing::Test {
 protected:
  bool takes(const std::string& bytes) {
    return refusal_of(folder_.write("mutant.bin", bytes), decode_some) == kTaken;
  }

  TempFolder folder_;
  std::string good_ = content_of(made(folder_, "good.bin", kSmall));
};

// dim 4, ffn 3, 2 layers, 2 heads, 1 KV head, 5 tokens, length 6: head size 2, kv_dim 2.
constexpr std::size_t kFloatsBeforeClassifier =
    20 + 8 + 32 + 16 + 16 + 32 + 8 + 24 + 24 + 24 + 4 + 6 + 6;

TEST_F(LlamaModelTest, NegativeVocabularyMeansAClassifierOfItsOwn) {
  const auto file =
      folder_.write("c", counted({4, 3, 2, 2, 1, -5, 6}, kFloatsBeforeClassifier + 20));
  LlamaModel model(file);
  EXPECT_TRUE(model.shape().own_classifier);
  EXPECT_EQ(model.shape().vocab, 5U);
  EXPECT_TRUE(model.weights().warm());
  std::array<float, 20> classifier{};
  ASSERT_EQ(model.arrays().classifier.bytes.size(), sizeof classifier);
  std::memcpy(classifier.data(), model.arrays().classifier.bytes.data(), sizeof classifier);
  EXPECT_EQ(classifier.front(), static_cast<float>(kFloatsBeforeClassifier));
  EXPECT_EQ(classifier.back(), static_cast<float>(kFloatsBeforeClassifier + 19));
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
  EXPECT_THAT(names(3), ::testing::ElementsAre("rms_final_weight", "token_embedding_table"));
}

TEST_F(LlamaModelTest, AProductThatWrapsToNothingIsRefused) {
  // 4 layers of 2^30 x 2^30 floats are 2^64 bytes, which wraps to 0 if it is not checked. The rest
  // of the model fits in a sparse file: embedding 1, norms 8, ffn 12 and the final norm 1 times
  // 2^30.
  const std::uint64_t dim = std::uint64_t{1} << 30;
  const std::array<std::int32_t, 7> header = {1 << 30, 1, 4, 1 << 29, 1 << 29, 1, 1};
  const std::uint64_t floats = 22 * dim + 2;
  const auto file = folder_.write("wraps.bin", counted(header, 0));
  std::error_code error;
  std::filesystem::resize_file(file, sizeof(internal::Llama2cHeader) + floats * sizeof(float),
                               error);
  if (error) GTEST_SKIP() << "no sparse file of 88 GiB here: " << error.message();
  EXPECT_THROW(LlamaModel{file}, FormatError);
}

TEST_F(LlamaModelTest, NastyFieldsAreRefusedOrTaken) {
  using Limits = std::numeric_limits<std::int32_t>;
  // clang-format off
  const std::array<std::int32_t, 16> nasty = {
      0, 1, 2, 3, 7, 255, 256, 65'535, 65'536, 1 << 20, 1 << 30, -1, -2, -300,
      Limits::max(), Limits::min()};
  // clang-format on
  int refused = 0;
  for (std::size_t field = 0; field < 7; ++field) {
    for (const std::int32_t value : nasty) {
      std::string bytes = good_;
      overwrite(bytes, field * 4, value);
      refused += takes(bytes) ? 0 : 1;
    }
  }
  // With one exception (2 and 1 heads), no single value of these gives another model of the same
  // size.
  EXPECT_GE(refused, 7 * 16 - 4);
}

TEST_F(LlamaModelTest, EveryTruncationIsRefusedWhereTheFileEnds) {
  std::size_t step = 1;
  for (std::size_t length = 0; length < good_.size(); length += step) {
    if (length > 64) step = 997;
    const auto file = folder_.write("cut.bin", std::string_view(good_).substr(0, length));
    EXPECT_EQ(thrown<FormatError>([&] { LlamaModel{file}; }).offset(), length);
  }
}

TEST_F(LlamaModelTest, RandomDamageNeverCrashes) {
  std::mt19937_64 random(20'240'607);
  int taken = 0;
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    taken += takes(damaged(good_, sizeof(internal::Llama2cHeader), random)) ? 1 : 0;
  }
  EXPECT_GT(taken, kRounds / 20);  // damaged weights are still weights
  EXPECT_LT(taken, kRounds / 2);
}

TEST_F(LlamaModelTest, OpeningAllocatesNothingOfTheModel) {
  // 70 billion weights in a sparse file whose size agrees with the header.
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
  std::filesystem::resize_file(file, *cli::checkpoint_bytes(shape), error);
  if (error) GTEST_SKIP() << "cannot create a sparse file of 256 GiB: " << error.message();
  const LlamaModel model(file);
  EXPECT_GT(model.weights().range().size(), 250_GiB);
  EXPECT_EQ(model.plan().history.bytes(), std::size_t{2} * 80 * 1024 * 4 * 4096);
}

TEST_F(LlamaModelTest, WhatIsNoFileIsRefused) {
  EXPECT_THROW(LlamaModel(folder_.path()), InvalidArgument);
  const auto fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THROW(LlamaModel{fifo}, InvalidArgument);  // and does not wait for a writer
  const auto missing = thrown<SystemError>([&] { LlamaModel{folder_ / "missing"}; });
  EXPECT_EQ(missing.number(), ENOENT);
  EXPECT_EQ(missing.path(), (folder_ / "missing").string());
}

TEST_F(LlamaModelTest, EveryRefusalOfTheSystemIsReported) {
  const auto file = folder_ / "good.bin";
  std::set<std::string> victims;
  for (std::uint64_t call = 1;; ++call) {
    const os::InjectFault fault(call, EIO);
    try {
      const LlamaModel model(file);
      if (!os::InjectFault::fired()) break;  // otherwise only an optional call failed
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
