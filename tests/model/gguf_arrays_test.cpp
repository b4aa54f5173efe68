// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/gguf_arrays.hpp"

#include <gmock/gmock.h>

#include <limits>
#include <random>
#include <string>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "model/gguf_bytes.hpp"
#include "model/refusal.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;

class GgufArraysTest : public ::testing::Test {
 protected:
  std::filesystem::path write(const GgufBytes& bytes) {
    return folder_.write("m.gguf", bytes.bytes());
  }

  TempFolder folder_;
};

TEST_F(GgufArraysTest, ReadsWhatMetadataLeavesOut) {
  for (const std::uint32_t version : {1U, 2U, 3U}) {
    std::vector<std::string> strings;
    std::vector<float> reals;
    for (int i = 0; i < 5000; ++i) {
      strings.push_back(std::string(static_cast<std::size_t>(i % 7), 'x') + std::to_string(i));
      reals.push_back(static_cast<float>(i) / 2);
    }
    strings[17] = "";
    const auto path = write(GgufBytes(version)
                                .header(0, 6)
                                .key("before", "text")
                                .strings("none", {})
                                .strings("empty", {""})
                                .strings("strings", strings)
                                .array("reals", gguf_type::f32, reals)
                                .array("wholes", gguf_type::i32, std::vector<std::int32_t>{-1, 7}));
    const Model gguf = read_model(path);
    const GgufStrings read = read_gguf_strings(gguf, "strings");
    ASSERT_EQ(read.size(), strings.size());
    for (std::size_t i = 0; i < strings.size(); ++i) EXPECT_EQ(read[i], strings[i]);
    EXPECT_EQ(read_gguf_strings(gguf, "none").size(), 0U);
    ASSERT_EQ(read_gguf_strings(gguf, "empty").size(), 1U);
    EXPECT_EQ(read_gguf_strings(gguf, "empty")[0], "");
    EXPECT_EQ(read_gguf_floats(gguf, "reals"), reals);
    EXPECT_THAT(read_gguf_integers(gguf, "wholes"), ElementsAre(-1, 7));
  }
}

TEST_F(GgufArraysTest, EveryIntegerTypeIsReadAndOnlyWhatFits) {
  constexpr std::uint64_t kMostSigned = std::numeric_limits<std::int64_t>::max();
  GgufBytes bytes;
  bytes.header(0, 9)
      .array("u8", gguf_type::u8, std::vector<std::uint8_t>{255})
      .array("i8", gguf_type::i8, std::vector<std::int8_t>{-128})
      .array("u16", gguf_type::u16, std::vector<std::uint16_t>{65'535})
      .array("i16", gguf_type::i16, std::vector<std::int16_t>{-32'768})
      .array("u32", gguf_type::u32, std::vector<std::uint32_t>{4'294'967'295U})
      .array("u64", gguf_type::u64, std::vector<std::uint64_t>{kMostSigned})
      .array("i64", gguf_type::i64, std::vector<std::int64_t>{-1})
      .array("large", gguf_type::u64, std::vector<std::uint64_t>{1, kMostSigned + 1});
  const std::uint64_t large_at = bytes.at() - 8;
  bytes.array("flags", gguf_type::boolean, std::vector<std::uint8_t>{1});
  const Model gguf = read_model(write(bytes));
  for (const auto& [key, number] : std::vector<std::pair<const char*, std::int64_t>>{
           {"u8", 255},
           {"i8", -128},
           {"u16", 65'535},
           {"i16", -32'768},
           {"u32", 4'294'967'295},
           {"u64", std::numeric_limits<std::int64_t>::max()},
           {"i64", -1}}) {
    EXPECT_THAT(read_gguf_integers(gguf, key), ElementsAre(number)) << key;
  }
  EXPECT_EQ(refusal_of([&] { return read_gguf_integers(gguf, "large"); }),
            (Refusal{large_at, "large", FormatFault::out_of_range}));
  EXPECT_EQ(refusal_of([&] { return read_gguf_integers(gguf, "flags"); })->fault,
            FormatFault::wrong_type);
}

TEST_F(GgufArraysTest, AModelOfAnotherFormatHasNone) {
  Model model;
  model.format = ModelFormat::config;
  const auto error = thrown<InvalidArgument>(
      [&] { static_cast<void>(read_gguf_strings(model, "tokenizer.ggml.tokens")); });
  EXPECT_EQ(error.argument(), "model");
  model.format = ModelFormat::gguf;  // without a file
  EXPECT_THROW(static_cast<void>(read_gguf_strings(model, "a")), InvalidArgument);
}

TEST_F(GgufArraysTest, OtherThingsThanAskedForAreRefused) {
  const auto path = write(GgufBytes()
                              .header(0, 2)
                              .key("text", "a")
                              .array("reals", gguf_type::f32, std::vector<float>{1}));
  const Model gguf = read_model(path);
  const std::uint64_t reals_at = gguf.metadata.find("reals")->offset;
  EXPECT_EQ(refusal_of([&] { return read_gguf_strings(gguf, "none"); }),
            (Refusal{0, "none", FormatFault::missing}));
  EXPECT_EQ(refusal_of([&] { return read_gguf_strings(gguf, "text"); }),
            (Refusal{24, "text", FormatFault::wrong_type}));
  EXPECT_EQ(refusal_of([&] { return read_gguf_strings(gguf, "reals"); }),
            (Refusal{reals_at, "reals", FormatFault::wrong_type}));
  EXPECT_EQ(refusal_of([&] { return read_gguf_integers(gguf, "reals"); }),
            (Refusal{reals_at, "reals", FormatFault::wrong_type}));
}

// The header was checked when it was read, and may have changed since.
TEST_F(GgufArraysTest, AFileThatChangesMeanwhileIsRefusedOrRead) {
  GgufBytes bytes;
  bytes.header(0, 2).strings("strings", {"a", "bc", "def"});
  bytes.array("wholes", gguf_type::i32, std::vector<std::int32_t>{1, 2, 3});
  const std::string good = bytes.bytes();
  const Model gguf = read_model(write(bytes));
  std::mt19937_64 random(3);
  int taken = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    std::string damaged = good;
    char& byte = damaged[random() % damaged.size()];
    byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << random() % 8));
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    static_cast<void>(folder_.write("m.gguf", damaged));
    taken += refusal_of([&] { return read_gguf_strings(gguf, "strings"); }) ? 0 : 1;
    taken += refusal_of([&] { return read_gguf_integers(gguf, "wholes"); }) ? 0 : 1;
  }
  EXPECT_GT(taken, kRounds / 4);
  EXPECT_LT(taken, kRounds * 2 * 9 / 10);
}

TEST_F(GgufArraysTest, CountsAndLengthsAreNotBelieved) {
  GgufBytes bytes;
  bytes.header(0, 1).strings("s", {"a", "b"});
  const Model gguf = read_model(write(bytes));
  const std::size_t count_at = 4 + 4 + 8 + 8 + 8 + 1 + 4 + 4;
  for (const std::size_t at : {count_at, count_at + 8, count_at + 8 + 8 + 1}) {
    for (const std::uint64_t claim : {std::numeric_limits<std::uint64_t>::max(),
                                      std::uint64_t{1} << 62, std::uint64_t{1} << 24}) {
      std::string mutant = bytes.bytes();
      std::memcpy(&mutant[at], &claim, sizeof claim);
      static_cast<void>(folder_.write("m.gguf", mutant));
      const auto refusal = refusal_of([&] { return read_gguf_strings(gguf, "s"); });
      ASSERT_TRUE(refusal);
      EXPECT_EQ(refusal->offset, at);
      EXPECT_EQ(refusal->fault, FormatFault::cut_off);
    }
  }
}

TEST_F(GgufArraysTest, ReadsTheVocabulariesOfRealFiles) {
  for (const char* name : {"stories260K.gguf", "tinyllamas-stories-260k-f32.v1.gguf"}) {
    const auto path = shared_data("gguf") / name;
    if (!std::filesystem::exists(path)) GTEST_SKIP() << "there is no " << path;
    const Model gguf = read_model(path);
    const GgufStrings tokens = read_gguf_strings(gguf, "tokenizer.ggml.tokens");
    const std::vector<float> scores = read_gguf_floats(gguf, "tokenizer.ggml.scores");
    const std::vector<std::int64_t> types = read_gguf_integers(gguf, "tokenizer.ggml.token_type");
    ASSERT_EQ(tokens.size(), 512U);
    ASSERT_EQ(scores.size(), 512U);
    ASSERT_EQ(types.size(), 512U);
    EXPECT_EQ(tokens[0], "<unk>");
    EXPECT_EQ(tokens[3], "<0x00>");
    EXPECT_EQ(tokens[259], "\xE2\x96\x81t");
    EXPECT_EQ(scores[262], -3);
    EXPECT_EQ(types[2], 3);
    EXPECT_EQ(types[258], 6);
  }
}

}  // namespace
}  // namespace tapedeck::tests
