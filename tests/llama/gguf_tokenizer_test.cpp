// SPDX-License-Identifier: Apache-2.0
// The tokenizer in a GGUF file.
#include <gmock/gmock.h>

#include <limits>
#include <string>
#include <vector>

#include "llama/gguf_model.hpp"
#include "llama/support.hpp"
#include "llama/tokenizer.hpp"
#include "model/shared_data.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using llama::TokenId;
using llama::Tokenizer;
using ::testing::ElementsAre;

const std::string kMark = "\xE2\x96\x81";

struct Token {
  std::string text;
  float score;
  std::int32_t type;
};

constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kUnknown = 2;
constexpr std::int32_t kControl = 3;
constexpr std::int32_t kUserDefined = 4;
constexpr std::int32_t kByte = 6;

// A header without tensors is enough.
GgufModel with_tokens(const std::vector<Token>& tokens) {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  for (const Token& token : tokens) {
    texts.push_back(token.text);
    scores.push_back(token.score);
    types.push_back(token.type);
  }
  GgufModel model;
  model.set("tokenizer.ggml.model", "llama")
      .set_strings("tokenizer.ggml.tokens", texts)
      .set_array("tokenizer.ggml.scores", gguf_type::f32, scores)
      .set_array("tokenizer.ggml.token_type", gguf_type::i32, types);
  return model;
}

const std::vector<Token> kFew = {
    {"<unk>", 0, kUnknown},     {"<s>", 0, kControl}, {"</s>", 0, kControl}, {"<0x61>", 0, kByte},
    {"<0xC3>", 0, kByte},       {kMark, -9, kNormal}, {"b", -9, kNormal},    {"c", -9, kNormal},
    {kMark + "b", -2, kNormal}, {"bc", -1, kNormal},  {"<", -9, kNormal},    {"s", -9, kNormal},
    {">", -9, kNormal},         {"<s", -3, kNormal}};

class GgufTokenizerTest : public ::testing::Test {
 protected:
  Tokenizer make(const GgufModel& model, std::size_t vocab = kFew.size()) {
    return {read_model(folder_.write("m.gguf", model.bytes())), vocab};
  }
  // A tokenizer with the basic tokens and `more`.
  Tokenizer make_with(const std::vector<Token>& more) {
    std::vector<Token> tokens = kFew;
    tokens.insert(tokens.end(), more.begin(), more.end());
    return make(with_tokens(tokens), tokens.size());
  }

  Refusal refusal_of_model(const GgufModel& model, std::size_t vocab = kFew.size()) {
    return refusal_of(folder_.write("m.gguf", model.bytes()),
                      [&](const auto& file) { Tokenizer(read_model(file), vocab); });
  }

  TempFolder folder_;
};

TEST_F(GgufTokenizerTest, AgreesWithTheTokenizerFileOfTheSameModel) {
  SKIP_WITHOUT_STORIES();
  const Tokenizer file(kStories / "tok512.bin", 512);
  const std::string story = content_of(expected_file(1, "text"));
  for (const char* name : {"stories260K.gguf", "tinyllamas-stories-260k-f32.v1.gguf"}) {
    const Tokenizer tokenizer(read_model(shared_data("gguf") / name), 512);
    EXPECT_EQ(tokenizer.piece(403), " Once");
    EXPECT_THAT(tokenizer.ends(), ElementsAre(1, 2));
    std::mt19937_64 random(3);
    for (int round = 0; round < 300; ++round) {
      std::string text = story.substr(random() % story.size(), random() % 80);
      if (round % 3 == 0 && !text.empty()) text[random() % text.size()] = '\xC3';
      const std::vector<TokenId> ids = tokenizer.encode(text);
      ASSERT_EQ(ids, file.encode(text)) << text;
      ASSERT_EQ(text_of_ids(tokenizer, ids), text);
    }
  }
}

TEST_F(GgufTokenizerTest, MarksAreSpacesAndWhatIsNoPieceBecomesBytesOrUnknown) {
  const Tokenizer tokenizer = make_with({});
  EXPECT_THAT(tokenizer.encode("b"), ElementsAre(1, 8));
  EXPECT_THAT(tokenizer.encode("bc"), ElementsAre(1, 5, 9));
  EXPECT_THAT(tokenizer.encode("c b"), ElementsAre(1, 5, 7, 8));
  EXPECT_THAT(tokenizer.encode("c" + kMark + "b"), ElementsAre(1, 5, 7, 8));
  EXPECT_THAT(tokenizer.encode("a"), ElementsAre(1, 5, 3));
  EXPECT_THAT(tokenizer.encode("\xC3\xA9"), ElementsAre(1, 5, 4, 0));  // no byte token for A9
  EXPECT_THAT(tokenizer.encode(""), ElementsAre(1));
  EXPECT_EQ(tokenizer.decode(1, 8), "b");
  EXPECT_EQ(tokenizer.decode(std::nullopt, 8), "b");
  EXPECT_EQ(tokenizer.decode(7, 8), " b");
  EXPECT_EQ(tokenizer.decode(7, 3), "a");
}

TEST_F(GgufTokenizerTest, ControlTokensAreNotFoundInTextsAndHaveNone) {
  const Tokenizer tokenizer = make_with({});
  EXPECT_THAT(tokenizer.encode("<s>"), ElementsAre(1, 5, 13, 12));
  for (const TokenId control : {0U, 1U, 2U}) EXPECT_EQ(tokenizer.decode(7, control), "");
  EXPECT_TRUE(tokenizer.is_end(1));
  EXPECT_TRUE(tokenizer.is_end(2));
  EXPECT_FALSE(tokenizer.is_end(0));
  EXPECT_FALSE(tokenizer.is_end(8));
}

TEST_F(GgufTokenizerTest, MergesThroughCharactersThatAreNoTokens) {
  // For "xy" only the whole pair is a piece.
  EXPECT_THAT(make_with({{"xy", -1, kNormal}}).encode("bxyx"), ElementsAre(1, 8, 14, 0));
}

TEST_F(GgufTokenizerTest, UserDefinedTokensAreTakenWholeAndTheLongestFirst) {
  const Tokenizer tokenizer = make_with({{"[I]", 0, kUserDefined},       // 14
                                         {"[I][J]", 0, kUserDefined}});  // 15
  EXPECT_THAT(tokenizer.encode("[I]"), ElementsAre(1, 14));
  // A space is added before the text.
  EXPECT_THAT(tokenizer.encode("[I][J]b"), ElementsAre(1, 15, 8));
  EXPECT_THAT(tokenizer.encode("c[I] b"), ElementsAre(1, 5, 7, 14, 5, 8));
  EXPECT_EQ(tokenizer.decode(7, 14), "[I]");
}

TEST_F(GgufTokenizerTest, ObeysItsFlags) {
  GgufModel model = with_tokens(kFew);
  model.set("tokenizer.ggml.add_space_prefix", gguf_type::boolean, false);
  EXPECT_THAT(make(model).encode("b b"), ElementsAre(1, 6, 8));
  EXPECT_EQ(make(model).decode(1, 8), " b");
  model.set("tokenizer.ggml.add_bos_token", gguf_type::boolean, false);
  EXPECT_THAT(make(model).encode("b"), ElementsAre(6));
  EXPECT_THAT(make(model).encode(""), ElementsAre());
  model.set("tokenizer.ggml.add_bos_token", gguf_type::boolean, true)
      .set("tokenizer.ggml.bos_token_id", gguf_type::u32, std::uint32_t{6})
      .set("tokenizer.ggml.eos_token_id", gguf_type::u32, std::uint32_t{7})
      .set("tokenizer.ggml.eot_token_id", gguf_type::u32, std::uint32_t{9})
      .set("tokenizer.ggml.unknown_token_id", gguf_type::u32, std::uint32_t{12});
  const Tokenizer tokenizer = make(model);
  EXPECT_THAT(tokenizer.encode("?"), ElementsAre(6, 12));
  EXPECT_THAT(tokenizer.ends(), ElementsAre(6, 7, 9));

  GgufModel without_bos = with_tokens(kFew);
  without_bos.set("tokenizer.ggml.bos_token_id", gguf_type::u32,
                  std::numeric_limits<std::uint32_t>::max());
  EXPECT_THAT(make(without_bos).encode("b"), ElementsAre(8));
  EXPECT_THAT(make(without_bos).ends(), ElementsAre(2));
}

TEST_F(GgufTokenizerTest, OldFilesHaveNoTypes) {
  GgufModel model = with_tokens(kFew);
  model.remove("tokenizer.ggml.token_type");
  const Tokenizer tokenizer = make(model);
  EXPECT_THAT(tokenizer.encode("a<s>"), ElementsAre(1, 5, 3, 13, 12));
  EXPECT_EQ(tokenizer.decode(7, 3), "a");
  EXPECT_EQ(tokenizer.decode(7, 2), "");
}

TEST_F(GgufTokenizerTest, SaysWhatIsWrong) {
  using enum FormatFault;
  const auto after = [&](auto change) {
    GgufModel model = with_tokens(kFew);
    change(model);
    return refusal_of_model(model);
  };
  EXPECT_EQ(after([](GgufModel&) {}), kTaken);
  constexpr const char* kKind = "tokenizer.ggml.model";
  EXPECT_EQ(after([](GgufModel& m) { m.set(kKind, "gpt2"); }), (Refusal{kKind, unsupported}));
  EXPECT_EQ(after([](GgufModel& m) { m.remove(kKind); }), (Refusal{kKind, missing}));

  constexpr const char* kTokens = "tokenizer.ggml.tokens";
  constexpr const char* kScores = "tokenizer.ggml.scores";
  constexpr const char* kTypes = "tokenizer.ggml.token_type";
  for (const char* key : {kTokens, kScores}) {
    EXPECT_NE(after([&](GgufModel& m) { m.remove(key); }), kTaken);
    EXPECT_NE(after([&](GgufModel& m) { m.set(key, gguf_type::u32, std::uint32_t{1}); }), kTaken);
  }
  EXPECT_EQ(refusal_of_model(with_tokens(kFew), 15), (Refusal{kTokens, contradictory}));
  EXPECT_EQ(after([](GgufModel& m) {
              m.set_array(kScores, gguf_type::f32, std::vector<float>(13, 0.0F));
            }),
            (Refusal{kScores, contradictory}));
  EXPECT_EQ(after([](GgufModel& m) {
              m.set_array(kTypes, gguf_type::i32, std::vector<std::int32_t>(15, 1));
            }),
            (Refusal{kTypes, contradictory}));
  EXPECT_EQ(after([](GgufModel& m) {
              std::vector<float> scores(14, 0.0F);
              scores[5] = std::numeric_limits<float>::quiet_NaN();
              m.set_array(kScores, gguf_type::f32, scores);
            }),
            (Refusal{kScores, out_of_range}));
  EXPECT_EQ(after([](GgufModel& m) {
              m.set("tokenizer.ggml.eos_token_id", gguf_type::u32, std::uint32_t{14});
            }),
            (Refusal{"tokenizer.ggml.eos_token_id", out_of_range}));
  EXPECT_EQ(after([](GgufModel& m) { m.set("tokenizer.ggml.bos_token_id", "one"); }),
            (Refusal{"tokenizer.ggml.bos_token_id", wrong_type}));
}

TEST_F(GgufTokenizerTest, ReadsTheVocabularyOfLlama2) {
  const auto path = shared_data("gguf") / "ggml-vocab-llama-spm.gguf";
  if (const auto why = no_shared_data("gguf/ggml-vocab-llama-spm.gguf")) GTEST_SKIP() << *why;
  const Tokenizer tokenizer(read_model(path), 32'000);
  // From llama.cpp's test-tokenizer-0-llama-spm.
  EXPECT_THAT(tokenizer.encode("Hello world"), ElementsAre(1, 15'043, 3186));
  EXPECT_THAT(tokenizer.encode("3333"), ElementsAre(1, 29'871, 29'941, 29'941, 29'941, 29'941));
  EXPECT_THAT(tokenizer.encode("\n ="), ElementsAre(1, 29'871, 13, 353));
}

}  // namespace
}  // namespace tapedeck::tests
