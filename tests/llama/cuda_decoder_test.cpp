// SPDX-License-Identifier: Apache-2.0
// Compares the decoder on a GPU with the one on the CPU, and with the reference program.
#include "llama/cuda_decoder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "llama/gguf_model.hpp"
#include "llama/gpu_host.hpp"

namespace tapedeck::tests {
namespace {

using llama::TokenId;

// The tokens of a story: all of them on a GPU, fewer on the stand-in.
#ifdef TAPEDECK_STORY_TOKENS
constexpr std::size_t kStoryTokens = TAPEDECK_STORY_TOKENS;
#else
constexpr std::size_t kStoryTokens = 256;
#endif

// A GPU adds in a different order, and fuses multiplications and additions. In f16, each number
// that is kept has a relative error of 2^-12.
float tolerance_of(const GpuMode& mode) { return mode.element == DType::f16 ? 2e-2F : 1e-3F; }

void expect_near(const std::vector<float>& found, const std::vector<float>& expected,
                 float tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::fabs(value));
  ASSERT_GT(largest, 0);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], tolerance * largest) << "logit " << i;
  }
}

// More tokens than attention has parts, so that some parts have more positions than others.
constexpr std::size_t kTokens = 41;

TokenId some_token(std::size_t position) { return static_cast<TokenId>(position * 37 % 300); }

void expect_as_on_cpu(const std::filesystem::path& file, const GpuMode& mode) {
  Host cpu(file, 1, 1, kTokens);
  GpuHost gpu(file, mode, 1, kTokens);
  for (std::size_t position = 0; position < kTokens; ++position) {
    SCOPED_TRACE("position " + std::to_string(position));
    EXPECT_EQ(gpu.decoder.position(), position);
    const std::vector<float> logits = next_logits(gpu.decoder, some_token(position));
    ASSERT_NO_FATAL_FAILURE(
        expect_near(logits, next_logits(cpu.decoder, some_token(position)), tolerance_of(mode)));
  }
}

class CudaDecoderTest : public ::testing::TestWithParam<GpuMode> {
 protected:
  TempFolder folder_;
};

std::string name_of(const ::testing::TestParamInfo<GpuMode>& mode) { return mode.param.name; }

INSTANTIATE_TEST_SUITE_P(Modes, CudaDecoderTest,
                         ::testing::Values(kReplayed, kLaunched, kTwoSlots, kThreeSlots, kOneStays,
                                           kStaged, kHalf, kHalfTwoSlots),
                         name_of);

// In f32, because two tokens may be equally likely after rounding to f16.
class CudaDecoderStories : public CudaDecoderTest {};

INSTANTIATE_TEST_SUITE_P(Modes, CudaDecoderStories,
                         ::testing::Values(kReplayed, kLaunched, kTwoSlots, kThreeSlots, kOneStays,
                                           kStaged),
                         name_of);

TEST_P(CudaDecoderStories, TokensAreThoseOfTheReference) {
  SKIP_WITHOUT_STORIES();
  GpuHost host(kStories / "stories260K.bin", GetParam());
  const llama::Tokenizer tokenizer(kStories / "tok512.bin", 512);
  for (int n = 1; n <= 3; ++n) {
    std::vector<TokenId> expected = expected_ids(n);
    expected.resize(std::min(expected.size(), kStoryTokens + 1));  // including the first one
    EXPECT_EQ(ids_of_talk(host.decoder, tokenizer.encode(kStoriesPrompts[n - 1]), kStoryTokens),
              expected);
  }
}

TEST_P(CudaDecoderTest, LogitsOfACheckpointAreThoseOfTheCpu) {
  llama::Shape shape = kSmall;
  shape.seq_len = kTokens;
  shape.dim = 72;  // more than one warp
  shape.layers = 5;
  expect_as_on_cpu(made(folder_, "made.bin", shape), GetParam());
}

TEST_P(CudaDecoderTest, LogitsOfEveryTypeAreThoseOfTheCpu) {
  GgufFigures figures;
  figures.layers = 4;
  figures.heads = 6;   // three for each of the two KV heads
  figures.value = 32;  // different from the size of keys
  figures.context = kTokens;
  figures.tied = false;
  const GgufModel model = made_gguf(figures);
  for (const DType type : llama::kMatrixTypes) {
    SCOPED_TRACE(to_string(type));
    expect_as_on_cpu(folder_.write("made.gguf", model.quantised(type).bytes()), GetParam());
  }
}

TEST_P(CudaDecoderTest, ATokenThatWasTakenBackLeavesNothing) {
  GpuHost host(made(folder_, "made.bin", kSmall), GetParam());
  next_logits(host.decoder, 5);
  const std::vector<float> expected = next_logits(host.decoder, 7);
  host.decoder.rewind(1);
  next_logits(host.decoder, 299);
  host.decoder.rewind(1);
  EXPECT_EQ(next_logits(host.decoder, 7), expected);
  host.decoder.clear_talk();
  next_logits(host.decoder, 5);
  EXPECT_EQ(next_logits(host.decoder, 7), expected);
}

TEST_P(CudaDecoderTest, TalksShareWeightsAndNothingElse) {
  GpuHost host(made(folder_, "made.bin", kSmall), GetParam(), 2);
  const auto second = llama::make_cuda_decoder(*host.model, host.weights, host.layout, 1,
                                               {.graph = GetParam().graph});
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6, 7};
  const std::vector<float> alone = logits_of(host.decoder, tokens);
  std::vector<float> interleaved;
  for (const TokenId token : tokens) {
    const std::vector<float> logits = next_logits(host.decoder, token);
    interleaved.insert(interleaved.end(), logits.begin(), logits.end());
    next_logits(*second, 300 - token);
  }
  EXPECT_EQ(interleaved, alone);
  second->clear_talk();
  EXPECT_EQ(logits_of(*second, tokens), alone);
}

}  // namespace
}  // namespace tapedeck::tests
