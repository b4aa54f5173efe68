// SPDX-License-Identifier: Apache-2.0
// The driver calls of the decoder on a GPU, counted on the stand-in, whose kernels compute nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/thrown.hpp"
#include "device/stand_in_faults.hpp"
#include "llama/cuda_decoder.hpp"
#include "llama/gpu_host.hpp"
#include "llama/streamed_llama.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {
namespace {

using testing::Pair;
using testing::UnorderedElementsAre;

using Calls = std::map<std::string, std::uint64_t>;

class CudaDecoderCalls : public ::testing::Test {
 protected:
  CudaDecoderCalls() { stand_in::reset(); }
  ~CudaDecoderCalls() override { expect_all_given_back(); }

  /// The calls for this many tokens. Two tokens are decoded before, which capture, and fill the
  /// slots.
  static Calls calls_of(GpuHost& host, std::size_t tokens) {
    const Calls before = stand_in::calls_by_name();
    for (std::size_t i = 0; i < tokens; ++i) next_logits(host.decoder, 1);
    Calls calls = stand_in::calls_by_name();
    for (const auto& [name, count] : before) calls[name] -= count;
    std::erase_if(calls, [](const auto& call) { return call.second == 0; });
    return calls;
  }
  static void warm_up(GpuHost& host) {
    host.decoder.prepare(12);
    for (int i = 0; i < 2; ++i) next_logits(host.decoder, 1);
  }

  TempFolder folder_;
  std::filesystem::path model_ = made(folder_, "made.bin", kSmall);
};

constexpr std::uint64_t kKernelsOfALayer = 16;
constexpr std::uint64_t kOtherKernels = 3;

// The context is made current for each call of the device.
TEST_F(CudaDecoderCalls, ATokenIsTwoCopiesItsLaunchesAndAWait) {
  const auto expect_launches = [&](const GpuMode& mode, const char* call, std::uint64_t launches) {
    GpuHost host(model_, mode);
    warm_up(host);
    EXPECT_THAT(
        calls_of(host, 10),
        UnorderedElementsAre(Pair("cuMemcpyAsync", 20), Pair(call, 10 * launches),
                             Pair("cuStreamSynchronize", 10), Pair("cuCtxPushCurrent_v2", 30),
                             Pair("cuCtxPopCurrent_v2", 30)));
  };
  expect_launches(kReplayed, "cuGraphLaunch", 1);
  expect_launches(kLaunched, "cuLaunchKernel", kSmall.layers * kKernelsOfALayer + kOtherKernels);
}

// Three slots for four layers, so that every layer is copied again.
TEST_F(CudaDecoderCalls, AStreamedTokenAllocatesMapsAndWaitsForNothingElse) {
  llama::Shape shape = kSmall;
  shape.layers = 4;
  const auto path = made(folder_, "four.bin", shape);
  GpuHost host(path, kThreeSlots);
  warm_up(host);
  const LayerStreamerStat before = host.weights.streamer().stat();
  Calls calls = calls_of(host, 10);
  const LayerStreamerStat stat = host.weights.streamer().stat();
  EXPECT_EQ(stat.copies - before.copies, 10 * shape.layers);
  EXPECT_EQ(stat.late, before.late);
  EXPECT_EQ(calls["cuLaunchKernel"], 10 * (shape.layers * kKernelsOfALayer + kOtherKernels));
  EXPECT_EQ(calls["cuStreamSynchronize"], 10U);
  // The events mark when a copy has arrived, and when its slot is free; each is waited for once.
  EXPECT_EQ(calls["cuEventRecord"], 20 * shape.layers);
  EXPECT_EQ(calls["cuStreamWaitEvent"], 20 * shape.layers);
  EXPECT_EQ(calls["cuMemcpyAsync"], 20 + stat.copy_calls - before.copy_calls);
  for (const char* name :
       {"cuLaunchKernel", "cuStreamSynchronize", "cuEventRecord", "cuStreamWaitEvent",
        "cuMemcpyAsync", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"}) {
    calls.erase(name);
  }
  EXPECT_THAT(calls, testing::IsEmpty());
}

// Whichever call of a token fails, the talk is unchanged, and the token can be decoded afterwards.
void fail_every_call_of_a_token(const std::filesystem::path& path, const GpuMode& mode) {
  GpuHost host(path, mode);
  host.decoder.prepare(3);
  std::uint64_t told = 0;
  for (std::uint64_t k = 1;; ++k) {
    SCOPED_TRACE("call " + std::to_string(k));
    stand_in::fail_call(k, CUDA_ERROR_UNKNOWN);
    bool failed = false;
    try {
      static_cast<void>(host.decoder.forward(1));
    } catch (const DeviceError& error) {
      failed = true;
      ++told;
      EXPECT_EQ(host.decoder.position(), 0U);
      EXPECT_EQ(error.name(), "CUDA_ERROR_UNKNOWN");
    }
    const std::string victim = stand_in::stop_failing();
    // A copy in advance that fails is repeated when its layer is needed.
    EXPECT_TRUE(failed || victim.empty() || kGivingBack.contains(victim) || mode.resident_layers)
        << victim;
    if (!failed) host.decoder.rewind(1);
    ASSERT_EQ(host.decoder.position(), 0U);
    static_cast<void>(host.decoder.forward(1));
    host.decoder.rewind(1);
    if (victim.empty()) break;
  }
  EXPECT_GT(told, 3U);
}

TEST_F(CudaDecoderCalls, ATokenThatFailsLeavesTheTalkAsItWas) {
  for (const GpuMode& mode : {kReplayed, kLaunched, kTwoSlots, kStaged}) {
    SCOPED_TRACE(mode.name);
    fail_every_call_of_a_token(model_, mode);
    stand_in::reset();  // contexts whose pop failed are still pushed
  }
}

TEST_F(CudaDecoderCalls, WhateverFailsEverythingIsGivenBack) {
  GpuMode pinned = kTwoSlots;
  pinned.source = StreamSource::pin;  // and not staged if that fails
  const auto model = warm_model(model_, Way::read);
  for (const GpuMode& mode : {kReplayed, pinned}) {
    SCOPED_TRACE(mode.name);
    const auto [calls, told] = sweep_driver_calls(
        [&] {
          GpuHost host(model, mode);
          for (int i = 0; i < 2; ++i) next_logits(host.decoder, 1);
        },
        // Work on a stream ends before the memory that it uses is released. A copy in advance that
        // fails is repeated when its layer is needed.
        {"cuStreamSynchronize", "cuMemcpyAsync", "cuStreamWaitEvent", "cuEventRecord"});
    EXPECT_GT(told, calls / 4);
  }
}

TEST_F(CudaDecoderCalls, ATalkWithoutRoomIsRefusedBeforeTheDriverIsAsked) {
  GpuHost host(model_);
  const std::uint64_t before = stand_in::calls();
  EXPECT_THROW(static_cast<void>(host.decoder.forward(1)), NotPrepared);
  EXPECT_EQ(stand_in::calls(), before);
  EXPECT_EQ(host.decoder.position(), 0U);
}

TEST_F(CudaDecoderCalls, AWholeLayoutCountsPassesAndTalks) {
  CudaDevice gpu;
  const auto model = warm_model(model_, Way::read);
  llama::StreamedLlama host(*model, gpu, {.positions = 12});
  const auto decoder = llama::make_cuda_decoder(*model, host.weights(), host.layout());
  for (int i = 0; i < 3; ++i) next_logits(*decoder, 1);
  Stat stat = host.layout().stat();
  EXPECT_EQ(stat.passes, 3U);
  EXPECT_EQ(stat.gpu[0].tokens, 3U);
  EXPECT_EQ(stat.gpu[0].scratch.clears, 3U);
  decoder->clear_talk();
  stat = host.layout().stat();
  EXPECT_EQ(stat.conversations, 1U);
  EXPECT_EQ(stat.gpu[0].tokens, 0U);
}

TEST_F(CudaDecoderCalls, LayoutsThatDoNotFitAreRefused) {
  GpuHost host(model_);
  const auto refused = [&](Plan plan, Device& device) {
    OnDevice layout(device, std::move(plan));
    return thrown<InvalidArgument>(
        [&] { static_cast<void>(llama::make_cuda_decoder(*host.model, host.weights, layout)); });
  };
  Plan plan = host.model->plan();
  plan.history = TapePlan(TapeKind::history);
  EXPECT_EQ(refused(plan, host.device).value(), 0U);  // layer 0 has no cache
  plan = host.model->plan();
  plan.scratch = TapePlan(TapeKind::scratch);
  EXPECT_EQ(refused(plan, host.device).argument(), "decode.embed_out");

  llama::Shape fewer_words = kSmall;
  fewer_words.vocab -= 1;
  const llama::LlamaModel smaller(made(folder_, "smaller.bin", fewer_words));
  const InvalidArgument too_small = refused(smaller.plan(), host.device);
  EXPECT_EQ(too_small.argument(), "decode.logits");
  EXPECT_EQ(too_small.value(), fewer_words.vocab);
  EXPECT_EQ(too_small.limit(), kSmall.vocab);

  llama::Shape more_heads = kSmall;
  more_heads.kv_heads = 4;
  const llama::LlamaModel wider(made(folder_, "wider.bin", more_heads));
  const InvalidArgument too_wide = refused(wider.plan(), host.device);
  EXPECT_EQ(too_wide.argument(), "layers.0.k");
  EXPECT_EQ(too_wide.value(), more_heads.key_dim() * sizeof(float));
  EXPECT_EQ(too_wide.limit(), kSmall.key_dim() * sizeof(float));

  HostDevice host_device;
  EXPECT_EQ(refused(host.model->plan(), host_device).argument(), "layout");
}

}  // namespace
}  // namespace tapedeck::tests
