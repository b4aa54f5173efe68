// Layers that take turns on the CUDA device of a stand-in driver, whose copies and events are as a
// driver's; the arithmetic is the host's, on the stand-in's memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "device/stand_in_device.hpp"
#include "llama/decoder.hpp"
#include "llama/gpu_host.hpp"

namespace tapedeck::tests {
namespace {

using llama::TokenId;

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
  const auto model = warm_model(kStories / "stories260K.bin");
  const llama::Tokenizer tokenizer(kStories / "tok512.bin", 512);
  CudaDevice device;
  StreamingPlan streaming = streaming_of(*model, GetParam());
  const std::uint64_t slots = streaming.slots;
  Plan plan = model->plan(kPositions);
  plan.weights = streaming.device;
  LayoutOptions options;
  options.gpus.push_back({.device = &device, .plan = std::move(plan)});
  Layout layout(Plan{}, std::move(options));
  DeviceTape& weights = layout.gpu(0).weights();
  llama::DeviceModel on_gpu(*model, device, std::move(streaming), {weights.data(), weights.floor()},
                            {.source = GetParam().source});
  llama::DeviceFeed feed(on_gpu, device);
  llama::ThreadPool pool(2);
  llama::DeviceSideDecoder decoder(*model, layout, pool, 0, &feed);
  llama::Sampler sampler(0);
  for (int n = 1; n <= 3; ++n) {
    const std::vector<TokenId> prompt = tokenizer.encode(kStoriesPrompts[n - 1]);
    std::vector<TokenId> ids = {prompt[0]};
    static_cast<void>(llama::hold_talk(decoder, sampler, prompt, kPositions, kEndAtBos, kNeverStop,
                                       [&](TokenId, TokenId token) {
                                         ids.push_back(token);
                                         return true;
                                       }));
    EXPECT_EQ(ids, expected_ids(n));
    decoder.clear_talk();
  }
  EXPECT_EQ(on_gpu.streamer().stat().copies != 0, slots != 0);
}

}  // namespace
}  // namespace tapedeck::tests
