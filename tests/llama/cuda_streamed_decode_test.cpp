// SPDX-License-Identifier: Apache-2.0
// Layers that take turns on the CUDA device of the stand-in driver. Copies and events are those of
// the driver; the host does the arithmetic, in the stand-in's memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <string>

#include "device/stand_in_device.hpp"
#include "llama/decoder.hpp"
#include "llama/gpu_host.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::size_t kPositions = 256;

class CudaStreamedStories : public testing::TestWithParam<GpuMode> {
 protected:
  CudaStreamedStories() { stand_in::reset({.host_visible = true}); }
  ~CudaStreamedStories() override { expect_all_given_back(); }
  void SetUp() override { SKIP_WITHOUT_STORIES(); }
};

INSTANTIATE_TEST_SUITE_P(Modes, CudaStreamedStories,
                         testing::Values(kReplayed, kTwoSlots, kThreeSlots, kOneStays, kStaged),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_P(CudaStreamedStories, TokensAreThoseOfTheReference) {
  const llama::Tokenizer tokenizer(kStories / "tok512.bin", 512);
  GpuModel on(warm_model(kStories / "stories260K.bin", Way::read), GetParam(), 1, kPositions);
  llama::ThreadPool pool(2);
  llama::DeviceSideDecoder decoder(*on.model, on.layout, pool, 0, &on.weights);
  for (int n = 1; n <= 3; ++n) {
    EXPECT_EQ(ids_of_talk(decoder, tokenizer.encode(kStoriesPrompts[n - 1]), kPositions),
              expected_ids(n));
  }
  EXPECT_EQ(on.weights.streamer().stat().copies != 0, on.streaming.slots != 0);
}

}  // namespace
}  // namespace tapedeck::tests
