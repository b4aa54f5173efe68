// SPDX-License-Identifier: Apache-2.0
#include "llama/decoder.hpp"

#include <gmock/gmock.h>

#include <array>
#include <map>
#include <set>
#include <string>

#include "base/thrown.hpp"
#include "llama/support.hpp"

namespace tapedeck::tests {
namespace {

using llama::Shape;
using llama::TokenId;
using llama::Tokenizer;

// The file has lines "pos 7 token_in 261", each followed by the logits, for some positions.
std::map<std::size_t, std::vector<float>> expected_logits(int n) {
  std::map<std::size_t, std::vector<float>> all;
  std::ifstream in(expected_file(n, "logits"));
  std::string word;
  std::size_t position = 0;
  while (in >> word) {
    if (word == "pos") {
      in >> position >> word >> word;
    } else {
      all[position].push_back(std::stof(word));
    }
  }
  return all;
}

class StoriesTest : public ::testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override { SKIP_WITHOUT_STORIES(); }
};

INSTANTIATE_TEST_SUITE_P(Threads, StoriesTest, ::testing::Values(1U, 2U, 3U));

TEST_P(StoriesTest, TokensAreThoseOfTheReference) {
  Host host(kStories / "stories260K.bin", GetParam());
  const Tokenizer tokenizer(kStories / "tok512.bin", 512);
  for (int n = 1; n <= 3; ++n) {
    EXPECT_EQ(ids_of_talk(host.decoder, tokenizer.encode(kStoriesPrompts[n - 1]), 256),
              expected_ids(n));
  }
}

TEST_P(StoriesTest, LogitsAreThoseOfTheReference) {
  Host host(kStories / "stories260K.bin", GetParam());
  for (int n = 1; n <= 3; ++n) {
    const std::vector<TokenId> ids = expected_ids(n);
    auto expected = expected_logits(n);
    ASSERT_EQ(expected.size(), n == 1 ? 5U : 4U);
    for (std::size_t position = 0; position + 1 < ids.size(); ++position) {
      EXPECT_EQ(host.decoder.position(), position);
      const std::vector<float> logits = next_logits(host.decoder, ids[position]);
      if (expected.contains(position)) {
        EXPECT_THAT(logits, ::testing::Pointwise(::testing::FloatNear(1e-3F), expected[position]));
        expected.erase(position);
      }
    }
    EXPECT_TRUE(expected.empty());
    host.layout.clear_talk();
  }
}

struct Made {
  const char* name;
  Shape shape;
};
void PrintTo(const Made& made, std::ostream* out) { *out << made.name; }

class MadeModelTest : public ::testing::TestWithParam<Made> {
 protected:
  TempFolder folder_;
};

constexpr Shape kOneOfEach = {
    .dim = 2, .ffn = 1, .layers = 1, .heads = 1, .kv_heads = 1, .vocab = 259, .seq_len = 1};
constexpr Shape kOwnClassifier = {.dim = 32,
                                  .ffn = 40,
                                  .layers = 3,
                                  .heads = 8,
                                  .kv_heads = 8,
                                  .vocab = 301,
                                  .seq_len = 33,
                                  .own_classifier = true};
constexpr Shape kDeep = {
    .dim = 16, .ffn = 8, .layers = 40, .heads = 2, .kv_heads = 1, .vocab = 260, .seq_len = 9};
constexpr Shape kWide = {
    .dim = 192, .ffn = 500, .layers = 2, .heads = 6, .kv_heads = 3, .vocab = 1000, .seq_len = 70};

INSTANTIATE_TEST_SUITE_P(Shapes, MadeModelTest,
                         ::testing::Values(Made{"small", kSmall}, Made{"one_of_each", kOneOfEach},
                                           Made{"own_classifier", kOwnClassifier},
                                           Made{"deep", kDeep}, Made{"wide", kWide}),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_P(MadeModelTest, APassComputesInThePlansBuffersAndTakesNothingBeyond) {
  const Shape& shape = GetParam().shape;
  Host host(made(folder_, "m", shape));
  const Plan plan = host.model.plan();
  const std::span<float> planned =
      host.layout.scratch_at<float>(host.layout.plan().scratch.at("decode.logits"));
  EXPECT_EQ(host.layout.weights().used(), host.model.weights().range().size());
  for (std::size_t position = 0; position < shape.seq_len; ++position) {
    const std::span<float> logits = host.decoder.forward(5);
    EXPECT_EQ(logits.data(), planned.data());
    EXPECT_EQ(logits.size(), planned.size());
    host.layout.clear_pass();
  }
  EXPECT_EQ(host.layout.scratch().peak(), plan.scratch.bytes());
  EXPECT_EQ(host.layout.history().used(), plan.history.bytes());
  EXPECT_EQ(host.layout.talk(0).tokens(), shape.seq_len);
}

TEST_P(MadeModelTest, APlanWithoutRoomForAStepIsRefused) {
  Host host(made(folder_, "m", GetParam().shape));
  static const std::set<std::string> used = {
      "decode.embed_out",  "decode.norm_out",    "decode.qkv_out",     "decode.attn_out",
      "decode.o_proj_out", "decode.down_out",    "decode.gate_up_out", "decode.final_norm_out",
      "decode.logits",     "decode.rope_q_temp", "decode.scores"};
  for (const Region& missing : host.layout.plan().scratch.regions()) {
    Plan plan = host.model.plan();
    plan.scratch = TapePlan(TapeKind::scratch);
    for (const Region& region : host.layout.plan().scratch.regions()) {
      if (region.name != missing.name) plan.scratch.append(region);
    }
    Layout layout(plan, host.model.options());
    const auto decode = [&] { llama::Decoder(host.model, layout, host.pool); };
    if (used.contains(missing.name)) {
      EXPECT_EQ(thrown<InvalidArgument>(decode).argument(), missing.name);
    } else {
      EXPECT_NO_THROW(decode()) << missing.name;
    }
  }
}

TEST_P(MadeModelTest, TalksAreAlikeWhateverTheThreadsAndWhateverCameBefore) {
  const auto model = made(folder_, "m", GetParam().shape);
  Host one(model, 1);
  Host three(model, 3);
  const std::vector<TokenId> ids = ids_of_talk(one.decoder, {1});
  EXPECT_EQ(ids_of_talk(one.decoder, {1}), ids);
  EXPECT_EQ(ids_of_talk(three.decoder, {1}), ids);
  EXPECT_EQ(one.decoder.position(), 0U);
}

TEST(Decoder, TalksOfOneLayoutDoNotMix) {
  const TempFolder folder;
  Host host(made(folder, "m", kSmall), 1, 2);
  llama::Decoder other(host.model, host.layout, host.pool, 1);
  const std::array<TokenId, 4> a = {1, 9, 17, 200};
  const std::array<TokenId, 4> b = {1, 8, 9, 9};
  std::array<std::vector<float>, 4> of_a;
  std::array<std::vector<float>, 4> of_b;
  for (std::size_t i = 0; i < 4; ++i) of_a[i] = next_logits(host.decoder, a[i]);
  host.layout.clear_talk(0);
  for (std::size_t i = 0; i < 4; ++i) of_b[i] = next_logits(other, b[i]);
  host.layout.clear_talk(1);
  EXPECT_NE(of_a, of_b);

  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(next_logits(host.decoder, a[i]), of_a[i]);
    EXPECT_EQ(next_logits(other, b[i]), of_b[i]);
  }
  EXPECT_EQ(host.decoder.position(), 4U);
  host.layout.clear_talk(0);
  EXPECT_EQ(host.decoder.position(), 0U);
  EXPECT_EQ(other.position(), 4U);
}

TEST(Decoder, AnotherDecoderMayGoOnWithATalk) {
  const TempFolder folder;
  Host host(made(folder, "m", kSmall));
  llama::Decoder other(host.model, host.layout, host.pool);
  const std::vector<float> expected = logits_of(host.decoder, {1, 9, 30, 4});
  std::vector<float> found;
  for (const TokenId token : {1U, 9U, 30U, 4U}) {
    const std::vector<float> logits = next_logits(token % 2 == 0 ? host.decoder : other, token);
    found.insert(found.end(), logits.begin(), logits.end());
  }
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace tapedeck::tests
