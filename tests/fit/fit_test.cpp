// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/fit.hpp"
#include "base/most.hpp"
#include "fit/choice_with_mode.hpp"

#include <gmock/gmock.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "fit/fit_choices.hpp"
#include "plan/layer_bytes.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;

/// A fictional model, whose figures can all be computed by hand: 4 layers of 1 MiB, except that the
/// second has 3 MiB; 2 MiB outside the layers; K and V of 1 KiB per token and layer in f16; scratch
/// of 1 KiB per token of a micro-batch and 2 KiB per token of a decode step; 1 MiB of overhead.
constexpr std::uint64_t kLayers = 4;

Plan made_up(const PlanOptions& options) {
  Plan plan;
  plan.talks = options.sequences;
  plan.context_per_talk = options.total_context;
  plan.overhead = 1_MiB;
  plan.foreign = options.foreign;
  const std::uint64_t scale =
      options.weights_type == DType::q4_k ? 4 : 1;  // q4_k is a quarter; all others are 1
  plan.weights.append(weight_region({.part = Part::embedding}, 2_MiB / scale));
  for (std::uint32_t i = 0; i < kLayers; ++i) {
    plan.weights.append(
        weight_region({.layer = i, .part = Part::up}, (i == 1 ? 3_MiB : 1_MiB) / scale));
    const std::uint64_t row = options.key_type == DType::q8_0   ? 512
                              : options.key_type == DType::q4_0 ? 256
                                                                : 1_KiB;
    plan.history.append({.id = {.layer = i, .part = Part::key_cache},
                         .name = "layers." + std::to_string(i) + ".k",
                         .role = RegionRole::kv,
                         .bytes = row * options.total_context});
  }
  plan.scratch.append({.name = "prefill", .bytes = 1_KiB * options.micro_batch});
  plan.scratch.append({.name = "decode", .bytes = 2_KiB * options.decode_batch});
  return plan;
}

const PlanOptions kAsked = {.total_context = 1024, .decode_batch = 1, .micro_batch = 512};
constexpr std::uint64_t kWeights = 8_MiB;
constexpr std::uint64_t kHistory = 4_MiB;
constexpr std::uint64_t kScratch = 512_KiB + 2_KiB;
constexpr std::uint64_t kOverhead = 1_MiB;
constexpr std::uint64_t kAll = kWeights + kHistory + kScratch + kOverhead;

ModelShape made_up_shape() {
  ModelShape shape;
  shape.context = 4096;
  shape.layers.resize(kLayers);
  return shape;
}

std::vector<FitChoice> fit_made_up(std::uint64_t host, std::optional<std::uint64_t> device,
                                   const PlanOptions& options = kAsked) {
  const auto budget = device ? std::optional(DeviceBudget{.free = *device}) : std::nullopt;
  return internal::fit_choices({.make = made_up,
                                .shape = made_up_shape(),
                                .options = options,
                                .host = {.available = host},
                                .device = budget,
                                .least = {}});
}

FitChoice fitted(FitMode mode, std::uint64_t host, std::optional<std::uint64_t> device = {},
                 const PlanOptions& options = kAsked) {
  return choice_with_mode(fit_made_up(host, device, options), mode);
}
FitChoice on_host(std::uint64_t host, const PlanOptions& options = kAsked) {
  return fitted(FitMode::host_only, host, {}, options);
}

std::vector<FitMode> modes(const std::vector<FitChoice>& choices) {
  std::vector<FitMode> all;
  all.reserve(choices.size());
  for (const FitChoice& choice : choices) all.push_back(choice.mode);
  return all;
}

TEST(Fit, WhereEverythingFitsItIsInTheOrderOfPreference) {
  const std::vector<FitChoice> choices = fit_made_up(1_GiB, 1_GiB);
  EXPECT_THAT(modes(choices), ElementsAre(FitMode::full_cache, FitMode::layer_streaming,
                                          FitMode::first_layers, FitMode::host_only));
  std::vector<std::string_view> ways;
  for (const FitChoice& choice : choices) {
    ways.push_back(description(choice.mode));
    EXPECT_TRUE(choice.fits());
    if (choice.mode == FitMode::layer_streaming) continue;  // the other modes copy nothing
    EXPECT_EQ(choice.resident_layers, 0U);
    EXPECT_EQ(choice.token_bytes, 0U);
  }
  EXPECT_THAT(ways, ElementsAre("full cache on the device", "layer streaming through two slots",
                                "first layers on the device", "host only"));
}

TEST(Fit, WithoutADeviceThereIsTheHost) {
  EXPECT_THAT(modes(fit_made_up(1_GiB, std::nullopt)), ElementsAre(FitMode::host_only));
  EXPECT_EQ(on_host(1_GiB).host.needed, kAll);
  EXPECT_EQ(on_host(1_GiB).device.needed, 0U);
  EXPECT_EQ(on_host(1_GiB).margin(), 1_GiB - kAll);
}

TEST(Fit, TheFullCacheIsThePlanOnTheDevice) {
  const FitChoice choice = fitted(FitMode::full_cache, 1_GiB, 1_GiB);
  EXPECT_EQ(choice.device.needed, kAll);
  EXPECT_EQ(choice.host.needed, 0U);
  EXPECT_EQ(choice.margin(), 1_GiB - kAll);
  EXPECT_TRUE(choice.reference_decoder);
}

// The libraries of an engine take memory of the host, whatever is on the device.
TEST(Fit, ForeignMemoryIsTheHosts) {
  PlanOptions options = kAsked;
  options.foreign = {{.bytes = 3_MiB, .addresses = 1_GiB}};
  const std::vector<FitChoice> plain = fit_made_up(1_GiB, 1_GiB);
  const std::vector<FitChoice> more = fit_made_up(1_GiB, 1_GiB, options);
  ASSERT_EQ(more.size(), 4U);
  for (std::size_t i = 0; i < more.size(); ++i) {
    EXPECT_EQ(more[i].host.needed, plain[i].host.needed + 3_MiB);
    EXPECT_EQ(more[i].device.needed, plain[i].device.needed);
  }
}

TEST(Fit, ForeignAddressesCountAgainstLimitsOfWhatIsMapped) {
  const Model model = model_of({attention_layer(4, 4, 64, 128)});
  const auto left = [&](std::uint64_t addresses) {
    const std::vector<MemoryLimit> limits = {{.name = "MemAvailable", .limit = 2_GiB},
                                             {.name = "RLIMIT_AS", .limit = 4_GiB, .mapped = true}};
    const PlanOptions options = {.foreign = {{.addresses = addresses}}};
    return fit(model, options, {.available = 2_GiB, .limits = limits}).front().host.available;
  };
  EXPECT_EQ(left(0), 2_GiB);
  EXPECT_EQ(left(2_GiB), 2_GiB);
  EXPECT_EQ(left(3_GiB), 1_GiB);
  EXPECT_THROW(static_cast<void>(left(4_GiB)), NothingFits);
}

/// A device whose memory is the host's, as that of an integrated GPU.
FitChoice integrated(FitMode mode, std::uint64_t host, std::uint64_t device) {
  return choice_with_mode(
      internal::fit_choices({.make = made_up,
                             .shape = made_up_shape(),
                             .options = kAsked,
                             .host = {.available = host},
                             .device = DeviceBudget{.free = device, .integrated = true},
                             .least = {}}),
      mode);
}

// Two limits on one memory: each byte counts once against each of them.
TEST(Fit, OfAnIntegratedDeviceCountsOnce) {
  for (const FitMode mode :
       {FitMode::full_cache, FitMode::layer_streaming, FitMode::first_layers}) {
    SCOPED_TRACE(description(mode));
    const FitChoice apart = fitted(mode, 1_GiB, 1_GiB);
    const FitChoice together = integrated(mode, 1_GiB, 1_GiB);
    const std::uint64_t both = apart.device.needed + apart.host.needed;
    EXPECT_FALSE(apart.integrated);
    EXPECT_TRUE(together.integrated);
    EXPECT_EQ(together.device.needed, apart.device.needed);
    EXPECT_EQ(together.host.needed, both);
    EXPECT_EQ(together.margin(), 1_GiB - both);
    EXPECT_TRUE(integrated(mode, both, 1_GiB).fits());
    EXPECT_FALSE(integrated(mode, both - 1, 1_GiB).fits());
  }
  EXPECT_FALSE(integrated(FitMode::host_only, 1_GiB, 1_GiB).integrated);
  EXPECT_EQ(integrated(FitMode::host_only, 1_GiB, 1_GiB).host.needed, kAll);
  // What is missing is missing once, too.
  EXPECT_EQ(integrated(FitMode::full_cache, kAll - 5, kAll - 3).shortfall(), 5U);
}

TEST(Fit, StreamingIsTwoSlotsOfTheLargestLayer) {
  const FitChoice choice = fitted(FitMode::layer_streaming, 100_MiB, 1_GiB);
  EXPECT_EQ(choice.device.needed, 2 * 3_MiB + 2_MiB + kHistory + kScratch + kOverhead);
  EXPECT_EQ(choice.host.needed, kWeights);
  EXPECT_EQ(choice.margin(), 100_MiB - kWeights);  // the host has less left
  EXPECT_TRUE(choice.reference_decoder);
}

TEST(Fit, FirstLayersAreAsManyAsTheDeviceHolds) {
  const auto with = [](std::uint64_t device) {
    return fitted(FitMode::first_layers, 1_GiB, kScratch + kOverhead + device);
  };
  // A layer has 1 MiB of history, so layer 0 needs 2 MiB and layer 1 needs 4 MiB.
  FitChoice choice = with(6_MiB);
  EXPECT_EQ(choice.device_layers, 2U);
  EXPECT_EQ(choice.device.needed, kScratch + kOverhead + 6_MiB);
  EXPECT_EQ(choice.host.needed, 2 * 2_MiB + 2_MiB + kScratch);
  EXPECT_FALSE(choice.reference_decoder);

  choice = with(6_MiB - 1);
  EXPECT_EQ(choice.device_layers, 1U);
  EXPECT_EQ(choice.host.needed, 2 * 2_MiB + 4_MiB + 2_MiB + kScratch);

  // At least one layer must be on the device, or the mode does not apply.
  choice = with(2_MiB - 1);
  EXPECT_EQ(choice.device_layers, 1U);
  EXPECT_FALSE(choice.fits());
  EXPECT_EQ(choice.shortfall(), 1U);
  EXPECT_EQ(with(1_GiB).device_layers, kLayers);
}

TEST(Fit, EverySequenceHasItsHistory) {
  PlanOptions options = kAsked;
  options.sequences = 3;
  const auto needed = [&](FitMode mode) {
    return fitted(mode, 1_GiB, 1_GiB, options).device.needed;
  };
  EXPECT_EQ(needed(FitMode::full_cache), kAll + 2 * kHistory);
  EXPECT_EQ(needed(FitMode::layer_streaming),
            2 * 3_MiB + 2_MiB + 3 * kHistory + kScratch + kOverhead);
  EXPECT_EQ(needed(FitMode::first_layers), 6_MiB + 3 * kHistory + kScratch + kOverhead);
}

/// What fits on a host with this much memory.
struct FittedOnHost {
  std::uint64_t bytes;
  std::uint64_t context, micro_batch, decode_batch;
  std::optional<DType> kv_type{}, weights_type{};
};

// A token takes 4 KiB of history, 1 KiB per token of a micro-batch and 2 KiB per token of a decode
// step.
const FittedOnHost kFittedOnHost[] = {
    {kAll, 1024, 512, 1},
    {kAll - 1, 1023, 511, 0, DType::q8_0, DType::q4_k},
    {kAll + 4_KiB - 1, 1024, 515, 2},
    {kAll + 4_KiB, 1025, 516, 3},
    {kAll + 6_KiB, 1025, 518, 4},
    // The context that the model was trained for. A prompt fills at most the context.
    {1_GiB, 4096, 1024, 65'536},
    {kAll - 2_MiB, 512, 0, 0, DType::q8_0, DType::q4_k},
    {kAll - 2_MiB - 1, 511, 0, 0, DType::q4_0, DType::q4_k},
    {kAll - 3_MiB - 1, 255, 0, 0, {}, DType::q4_k},
    {kAll - kHistory + 4_KiB, 1, 0, 0, {}, DType::q4_k},
    {kAll - kHistory, 0, 0, 0, {}, DType::q4_k},
    {kAll - 6_MiB, 0, 0, 0, {}, DType::q4_k},
    {kAll - 6_MiB - 1, 0, 0, 0, {}, {}},
};

TEST(Fit, TheLargestAndTheWidestAreExact) {
  for (const FittedOnHost& each : kFittedOnHost) {
    SCOPED_TRACE(each.bytes);
    const FitChoice choice = on_host(each.bytes);
    EXPECT_EQ(choice.largest_context, each.context);
    EXPECT_EQ(choice.largest_micro_batch, each.micro_batch);
    EXPECT_EQ(choice.largest_decode_batch, each.decode_batch);
    EXPECT_EQ(choice.kv_type, each.kv_type);
    EXPECT_EQ(choice.weights_type, each.weights_type);
  }
}

TEST(Fit, TheContextOfAllSequencesGrowsWithThem) {
  PlanOptions options = kAsked;
  options.sequences = 2;
  EXPECT_EQ(on_host(1_GiB, options).largest_context, 8192U);
  options.total_context = 9000;  // more than the model was trained for
  EXPECT_EQ(on_host(1_GiB, options).largest_context, 9000U);
}

TEST(Fit, WhatDoesNotFitIsRankedByWhatItLacks) {
  const std::vector<FitChoice> choices = fit_made_up(5_MiB, 4_MiB);
  EXPECT_THAT(modes(choices), ElementsAre(FitMode::first_layers, FitMode::host_only,
                                          FitMode::full_cache, FitMode::layer_streaming));
  EXPECT_EQ(choices[0].shortfall(), 10_MiB + kScratch - 5_MiB);
  EXPECT_EQ(choices[1].shortfall(), kAll - 5_MiB);
  EXPECT_EQ(choices[2].shortfall(), kAll - 4_MiB);
  // Here two slots and the rest are as large as all weights, and the host lacks 3 MiB too.
  EXPECT_EQ(choices[3].shortfall(), kAll - 4_MiB + 3_MiB);
}

TEST(Fit, WhatFitsIsRankedBeforeWhatDoesNot) {
  const std::vector<FitChoice> choices = fit_made_up(kAll - 1, 4_MiB);
  EXPECT_EQ(choices[0].mode, FitMode::first_layers);
  EXPECT_TRUE(choices[0].fits());
  EXPECT_EQ(choices[1].mode, FitMode::host_only);
  EXPECT_EQ(choices[1].shortfall(), 1U);
}

TEST(Fit, EveryChoiceHasTheWarningsOfItsPlan) {
  const auto make = [](const PlanOptions& options) {
    Plan plan = made_up(options);
    plan.warnings = {"one", "two"};
    return plan;
  };
  for (const std::uint64_t host : {1_GiB, 1_MiB}) {
    const std::vector<FitChoice> choices =
        internal::fit_choices({.make = make,
                               .shape = made_up_shape(),
                               .options = kAsked,
                               .host = {.available = host},
                               .device = DeviceBudget{.free = host},
                               .least = {}});
    for (const FitChoice& choice : choices) {
      EXPECT_THAT(choice.warnings, ElementsAre("one", "two")) << description(choice.mode);
    }
  }
  for (const FitChoice& choice : fit_made_up(1_GiB, 1_GiB)) EXPECT_TRUE(choice.warnings.empty());
}

TEST(Fit, SidesThatLackAreSummedUp) {
  const FitChoice choice = {.device = {.needed = 10, .available = 4},
                            .host = {.needed = 9, .available = 7}};
  EXPECT_FALSE(choice.fits());
  EXPECT_EQ(choice.shortfall(), 8U);
  EXPECT_EQ(choice.margin(), 0U);
  const FitChoice endless = {.device = {.needed = kMost}, .host = {.needed = kMost}};
  EXPECT_EQ(endless.shortfall(), kMost);
}

// A model whose size exceeds 64 bits does not fit, and the arithmetic does not wrap around.
TEST(Fit, OverflowFitsNowhere) {
  const auto make = [](const PlanOptions&) {
    Plan plan;
    plan.talks = kMost / 2;
    plan.weights.append(weight_region({.layer = 0}, kMost - 1024));
    plan.history.append({.id = {.layer = 0, .part = Part::key_cache},
                         .name = "layers.0.k",
                         .role = RegionRole::kv,
                         .bytes = 1024});
    return plan;
  };
  for (const FitChoice& choice : internal::fit_choices({.make = make,
                                 .shape = made_up_shape(),
                                 .options = kAsked,
                                 .host = {.available = kMost - 1},
                                 .device = DeviceBudget{.free = kMost - 1},
                                 .least = {}})) {
    EXPECT_FALSE(choice.fits()) << description(choice.mode);
    EXPECT_EQ(choice.largest_context, 0U);
  }
}

/// The same model, but with eight layers of 1 MiB. With n layers that stay, the tensors outside the
/// layers and two slots, the device has n + 4 MiB of weights; with all eight layers, and no slots,
/// 10 MiB.
constexpr std::uint64_t kBeside = kHistory + kScratch + kOverhead;
constexpr double kBus = 60.0 * 1024 * 1024;  // copies one layer 60 times per second

Plan of_eight_layers(const PlanOptions& options) {
  Plan plan = made_up(options);
  plan.weights = TapePlan(TapeKind::weights);
  plan.weights.append(weight_region({.part = Part::embedding}, 2_MiB));
  const std::uint64_t bytes = options.weights_type == DType::q4_k ? 256_KiB : 1_MiB;
  for (std::uint32_t i = 0; i < 8; ++i) {
    plan.weights.append(weight_region({.layer = i, .part = Part::up}, bytes));
  }
  return plan;
}

FitChoice streamed(std::uint64_t device, double bus = kBus, double least = 0,
                   const std::optional<internal::LayerBytes>& own = {}) {
  return choice_with_mode(
      internal::fit_choices({.make = of_eight_layers,
                             .shape = made_up_shape(),
                             .options = kAsked,
                             .host = {.available = 1_GiB},
                             .device = DeviceBudget{.free = device, .bus_bytes_per_second = bus},
                             .least = {least},
                             .weights = own}),
      FitMode::layer_streaming);
}

TEST(FitStreaming, AsManyLayersStayAsThereIsRoomFor) {
  const auto with = [](std::uint64_t weights) {
    const FitChoice choice = streamed(kBeside + weights);
    EXPECT_TRUE(choice.fits());
    EXPECT_EQ(choice.device.needed, kBeside + 4_MiB);  // the minimum to run
    return std::tuple(choice.resident_layers, choice.token_bytes, choice.ceiling_tokens_per_second);
  };
  EXPECT_EQ(with(4_MiB), std::tuple(0, 8_MiB, 60.0 / 8));
  EXPECT_EQ(with(5_MiB - 1), std::tuple(0, 8_MiB, 60.0 / 8));
  EXPECT_EQ(with(6_MiB), std::tuple(2, 6_MiB, 10.0));
  EXPECT_EQ(with(10_MiB - 1), std::tuple(5, 3_MiB, 20.0));
  EXPECT_EQ(with(10_MiB), std::tuple(8, 0, 0.0));  // nothing is copied
}

TEST(FitStreaming, WithoutRoomForSlotsThereIsNothingToTell) {
  for (const std::uint64_t device : {kBeside + 4_MiB - 1, kBeside - 1, std::uint64_t{0}}) {
    const FitChoice choice = streamed(device, kBus, 1000);
    EXPECT_FALSE(choice.fits());
    EXPECT_FALSE(choice.too_slow());
    EXPECT_EQ(choice.resident_layers, 0U);
    EXPECT_EQ(choice.token_bytes, 0U);
    EXPECT_EQ(choice.ceiling_tokens_per_second, 0.0);
  }
}

// 10 tokens per second are 6 layers per token; at a slightly higher rate one layer less may be
// copied.
TEST(FitStreaming, TheLeastRateIsReachedAtTheByte) {
  const FitChoice enough = streamed(kBeside + 6_MiB, kBus, 10);
  EXPECT_TRUE(enough.fits());
  EXPECT_EQ(enough.margin(), 0U);
  const FitChoice less = streamed(kBeside + 6_MiB - 1, kBus, 10);
  EXPECT_FALSE(less.fits());
  EXPECT_TRUE(less.too_slow());
  EXPECT_EQ(less.shortfall(), 1U);
  EXPECT_EQ(less.device.needed, kBeside + 6_MiB);
  EXPECT_EQ(less.resident_layers, 1U);
  EXPECT_DOUBLE_EQ(less.ceiling_tokens_per_second, 60.0 / 7);
  EXPECT_EQ(less.least_tokens_per_second, 10.0);
  EXPECT_EQ(streamed(kBeside, kBus, 10.001).device.needed, kBeside + 7_MiB);
  EXPECT_EQ(streamed(kBeside, kBus, 1e9).device.needed, kBeside + 10_MiB);  // all layers must stay
}

TEST(FitStreaming, OfABusThatIsNotKnownNothingIsRefused) {
  const FitChoice choice = streamed(kBeside + 4_MiB, 0, 1000);
  EXPECT_TRUE(choice.fits());
  EXPECT_EQ(choice.token_bytes, 8_MiB);
  EXPECT_EQ(choice.ceiling_tokens_per_second, 0.0);
}

// The change that makes it fit also makes it fast enough.
TEST(FitStreaming, WhatWouldFitIsFastEnough) {
  const FitChoice choice = streamed(kBeside + 6_MiB, kBus, 10);
  EXPECT_EQ(choice.largest_context, 1024U);
  EXPECT_EQ(streamed(kBeside + 6_MiB + 4_KiB, kBus, 10).largest_context, 1025U);
  const FitChoice slow = streamed(kBeside + 4_MiB, kBus, 10);
  EXPECT_TRUE(slow.too_slow());
  EXPECT_EQ(slow.kv_type, DType::q8_0);  // its history takes 2 MiB less, so two layers stay
  const FitChoice slower = streamed(kBeside + 4_MiB, kBus, 10.001);
  EXPECT_EQ(slower.kv_type, DType::q4_0);
  EXPECT_EQ(slower.weights_type, DType::q4_k);
}

TEST(FitStreaming, AModelsOwnTensorsAreWhatCounts) {
  const internal::LayerBytes own = {
      .layers = {{.bytes = 3_MiB, .token = 1_MiB}, {.bytes = 2_MiB, .token = 2_MiB}},
      .rest = 1_MiB};
  const FitChoice choice = streamed(kBeside + 6_MiB - 1, kBus, 0, own);
  // With both layers staying it takes 6 MiB, with one layer and two slots 8, with two slots 7.
  EXPECT_EQ(choice.device.needed, kBeside + 6_MiB);
  EXPECT_EQ(choice.weights_type, DType::f16);  // only a plan knows another type
  EXPECT_EQ(streamed(kBeside + 6_MiB, kBus, 0, own).resident_layers, 2U);
}

}  // namespace
}  // namespace tapedeck::tests
