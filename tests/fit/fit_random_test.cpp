// SPDX-License-Identifier: Apache-2.0
// Checks `fit` against plans of random models.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <random>
#include <string>

#include "base/most.hpp"
#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "fit/choice_with_mode.hpp"
#include "os/self.hpp"
#include "plan/layer_bytes.hpp"
#include "plan/random_plan.hpp"
#include "plan/refused.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::tests {
namespace {

HostBudget host_of(std::uint64_t bytes) { return {.available = bytes, .limit = "a test"}; }

constexpr double kRandomBus = 1e9;  // bytes per second
constexpr std::uint64_t kEnough = std::uint64_t{1} << 50;

DeviceBudget device_of(std::uint64_t bytes) {
  return {
      .free = bytes, .total = bytes, .name = "a test's device", .bus_bytes_per_second = kRandomBus};
}

std::uint64_t bytes_of_plan(const Model& model, const PlanOptions& options) {
  const Plan plan = make_plan(model, options);
  return plan.weights.bytes() + plan.history.bytes() * plan.talks + plan.scratch.bytes() +
         plan.overhead;
}

FitChoice random_choice(const RandomPlan& random, FitMode mode, std::uint64_t host,
                        std::uint64_t device, const FitOptions& least = {}) {
  try {
    return choice_with_mode(
        fit(random.model, random.options, host_of(host), device_of(device), least), mode);
  } catch (const NothingFits& error) {
    return choice_with_mode(error.choices(), mode);
  }
}

// A sanitizer is fifteen times as slow.
constexpr std::uint32_t kStep = kSanitized ? 4 : 1;

// One byte less budget changes the answer, both on the host and on the device.
TEST(FitRandom, OneByteDecides) {
  for (std::uint32_t seed = 0; seed < 20; seed += kStep) {
    const RandomPlan random(seed);
    for (const FitMode mode : {FitMode::full_cache, FitMode::layer_streaming, FitMode::first_layers,
                               FitMode::host_only}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", " + std::string(description(mode)));
      const FitChoice rich = random_choice(random, mode, kEnough, kEnough);
      ASSERT_TRUE(rich.fits());
      const std::uint64_t host = rich.host.needed;
      const std::uint64_t device = rich.device.needed;
      const FitChoice exact = random_choice(random, mode, host, device);
      EXPECT_TRUE(exact.fits());
      EXPECT_EQ(exact.margin(), 0U);
      EXPECT_EQ(exact.device_layers, rich.device_layers);
      if (host != 0) {
        const FitChoice less = random_choice(random, mode, host - 1, device);
        EXPECT_FALSE(less.fits());
        EXPECT_EQ(less.shortfall(), 1U);
      }
      if (device == 0) continue;
      const FitChoice less = random_choice(random, mode, kEnough, device - 1);
      if (mode == FitMode::first_layers && exact.device_layers > 1) {
        EXPECT_EQ(less.device_layers, exact.device_layers - 1);
      } else {
        EXPECT_FALSE(less.fits());
        EXPECT_EQ(less.shortfall(), 1U);
      }
    }
  }
}

// The same holds with a minimum rate, which needs some layers on the device.
TEST(FitRandom, OneByteDecidesWhetherItIsFastEnough) {
  std::mt19937 dice(2);
  std::uint32_t slow = 0;
  for (std::uint32_t seed = 300; seed < 340; seed += kStep) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomPlan random(seed);
    const auto with = [&](std::uint64_t device, double rate) {
      return random_choice(random, FitMode::layer_streaming, kEnough, device, {rate});
    };
    const FitChoice any = with(kEnough, 0);
    const FitChoice least = with(any.device.needed, 0);
    if (least.token_bytes == 0) continue;  // too few layers to stream
    // A rate between the one it reaches with minimum memory and ten times that.
    const double rate =
        least.ceiling_tokens_per_second * (1 + static_cast<double>(dice() % 1000) / 111);
    const FitChoice exact = with(with(kEnough, rate).device.needed, rate);
    EXPECT_TRUE(exact.fits());
    EXPECT_EQ(exact.margin(), 0U);
    EXPECT_GE(exact.device.needed, any.device.needed);
    if (exact.token_bytes != 0) {
      EXPECT_GE(exact.ceiling_tokens_per_second, rate);
      EXPECT_DOUBLE_EQ(exact.ceiling_tokens_per_second * static_cast<double>(exact.token_bytes),
                       kRandomBus);
    }
    const FitChoice less = with(exact.device.needed - 1, rate);
    EXPECT_FALSE(less.fits());
    EXPECT_EQ(less.shortfall(), 1U);
    EXPECT_EQ(less.too_slow(), less.token_bytes != 0);
    slow += less.too_slow() ? 1U : 0U;
    const FitChoice without_rate = with(exact.device.needed - 1, 0);
    EXPECT_EQ(without_rate.resident_layers, less.resident_layers);
    EXPECT_EQ(without_rate.fits(), less.too_slow());
  }
  EXPECT_GE(slow, 10U / kStep);
}

// The largest value that is reported fits, and one more does not.
TEST(FitRandom, TheLargestIsTheLargest) {
  std::mt19937 dice(1);
  std::uint32_t bounded = 0;
  for (std::uint32_t seed = 100; seed < 160; seed += kStep) {
    const RandomPlan random(seed);
    const std::uint64_t all = random_choice(random, FitMode::host_only, kMost, 0).host.needed;
    const std::uint64_t budget = all / 2 + dice() % all;
    const FitChoice choice = random_choice(random, FitMode::host_only, budget, 0);
    const auto fits = [&](auto set, std::uint64_t value) {
      PlanOptions options = random.options;
      set(options, value);
      return bytes_of_plan(random.model, options) <= budget;
    };
    const auto expect_largest = [&](auto set, std::uint64_t largest, std::uint64_t most) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      if (largest != 0) {
        EXPECT_TRUE(fits(set, largest));
      }
      if (largest == most) return;
      EXPECT_FALSE(fits(set, largest + 1));
      ++bounded;
    };
    expect_largest([](PlanOptions& options, std::uint64_t n) { options.total_context = n; },
                   choice.largest_context, random.model.shape.context * random.options.sequences);
    expect_largest(
        [](PlanOptions& options, std::uint64_t n) {
          options.micro_batch = n;
          options.batch = std::max(options.batch, n);
        },
        choice.largest_micro_batch, make_plan(random.model, random.options).context_per_talk);
    expect_largest([](PlanOptions& options, std::uint64_t n) { options.decode_batch = n; },
                   choice.largest_decode_batch, 65'536);
  }
  EXPECT_GT(bounded, 60U / kStep);  // not only the rare end of the range was tested
}

// Bisection relies on this.
TEST(FitRandom, WhatAPlanHoldsIsMonotone) {
  for (std::uint32_t seed = 200; seed < 230; seed += kStep) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomPlan random(seed);
    const auto expect_monotone = [&](std::uint64_t PlanOptions::*option, std::uint64_t most,
                                     std::uint64_t step) {
      PlanOptions options = random.options;
      std::uint64_t before = 0;
      for (options.*option = 1; options.*option < most; options.*option += step) {
        const std::uint64_t now = bytes_of_plan(random.model, options);
        EXPECT_GE(now, before) << options.*option;
        before = now;
      }
    };
    expect_monotone(&PlanOptions::total_context, 8192, 97);
    expect_monotone(&PlanOptions::micro_batch, 2048, 61);
  }
}

/// Returns the exception that is thrown if nothing fits.
NothingFits nothing_fits(const RandomPlan& random, std::uint64_t host,
                         const std::optional<DeviceBudget>& device = {},
                         const FitOptions& least = {}) {
  return thrown<NothingFits>(
      [&] { static_cast<void>(fit(random.model, random.options, host_of(host), device, least)); });
}

// Without tensors, a layer's size is its share of all layers.
TEST(FitRandom, ModesThatSplitLayersAreEstimatedWithoutTensors) {
  RandomPlan random(7);
  random.options.profile = native_profile();
  for (const FitChoice& choice :
       fit(random.model, random.options, host_of(kMost), device_of(kMost))) {
    const bool splits =
        choice.mode == FitMode::layer_streaming || choice.mode == FitMode::first_layers;
    EXPECT_EQ(choice.certainty.weights, splits ? Certainty::estimated : Certainty::exact);
    EXPECT_EQ(choice.certainty.is_bounded(), !splits);
  }
}

TEST(NothingFits, SaysByHowMuchAndWhatToChange) {
  RandomPlan random(0);
  random.options.key_type = random.options.value_type = DType::f32;
  const std::uint64_t needed = random_choice(random, FitMode::host_only, kMost, 0).host.needed;
  const NothingFits error = nothing_fits(random, needed - 1);
  EXPECT_EQ(error.needed(), needed);
  EXPECT_EQ(error.available(), needed - 1);
  EXPECT_EQ(error.limit(), "a test");
  EXPECT_EQ(error.purpose(), "running the model in mode \"host only\"");
  EXPECT_TRUE(error.message().starts_with(
      "nothing fits: the closest mode lacks 1 B; running the model in mode \"host only\" needs "))
      << error.message();
  const FitChoice& best = error.choices().front();
  ASSERT_NE(best.largest_context, 0U);
  EXPECT_EQ(error.advice(), "reduce the context to " + std::to_string(best.largest_context) +
                                " tokens (host only), store K and V as " +
                                std::string(to_string(best.kv_type.value())) +
                                " (host only), use weights of type " +
                                std::string(to_string(best.weights_type.value())) +
                                " (host only), or free 1 B");
}

TEST(NothingFits, HasTheWarningsOfThePlan) {
  RandomPlan random(7);
  random.model.shape.warnings = {"a guess"};
  const NothingFits error = nothing_fits(random, 0, device_of(0));
  for (const FitChoice& choice : error.choices()) {
    EXPECT_EQ(choice.warnings, make_plan(random.model, random.options).warnings);
    EXPECT_EQ(choice.warnings.front(), "a guess");
  }
}

TEST(NothingFits, NamesTheSideThatLacksMore) {
  const NothingFits error = nothing_fits(RandomPlan(7), 0, device_of(0));
  ASSERT_EQ(error.choices().size(), 4U);
  EXPECT_FALSE(error.choices().front().fits());
  EXPECT_EQ(error.available(), 0U);
  const FitChoice& best = error.choices().front();
  const bool of_device = best.device.needed > best.host.needed;
  EXPECT_EQ(error.needed(), std::max(best.device.needed, best.host.needed));
  EXPECT_EQ(error.limit(), of_device ? "free memory of a test's device" : "a test");
  // Neither a smaller context nor another type helps.
  EXPECT_EQ(error.advice(), "free " + to_iec(best.shortfall()));
}

TEST(NothingFits, NamesABudgetThatHasNoLimit) {
  const RandomPlan random(7);
  const NothingFits error = thrown<NothingFits>(
      [&] { static_cast<void>(fit(random.model, random.options, HostBudget{}, {})); });
  EXPECT_EQ(error.limit(), "HostBudget::available");
  EXPECT_TRUE(error.message().ends_with("but only 0 B is left (HostBudget::available)"))
      << error.message();
}

TEST(NothingFits, SaysThatTheBusIsTooSlowAndWhatItCarries) {
  const RandomPlan random(0);
  const std::uint64_t device =
      random_choice(random, FitMode::layer_streaming, kMost, kMost).device.needed;
  // The host has room for the weights and nothing else; the device has no room for the whole model.
  const std::uint64_t host = make_plan(random.model, random.options).weights.bytes();
  const auto fit_with = [&](double rate) {
    return fit(random.model, random.options, host_of(host), device_of(device), {rate});
  };
  const FitChoice slow = fit_with(0).front();
  ASSERT_EQ(slow.mode, FitMode::layer_streaming);
  const NothingFits error =
      nothing_fits(random, host, device_of(device), {slow.ceiling_tokens_per_second * 1.001});
  EXPECT_TRUE(choice_with_mode(error.choices(), FitMode::layer_streaming).too_slow());
  // The rate that the advice suggests can be reached.
  const std::string advice(error.advice());
  const double advised = std::stod(advice.substr(advice.find("rate to ") + 8));
  EXPECT_GT(advised, slow.ceiling_tokens_per_second * 0.98);
  EXPECT_EQ(fit_with(advised).front().mode, FitMode::layer_streaming);
}

TEST(Fit, FiguresThatMakeNoSenseAreErrors) {
  const RandomPlan random(7);
  const auto refused_fit = [&](const PlanOptions& options, double bus, double least) {
    DeviceBudget device = device_of(kMost);
    device.bus_bytes_per_second = bus;
    return refused([&] { return fit(random.model, options, host_of(kMost), device, {least}); });
  };
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  constexpr double kEndless = std::numeric_limits<double>::infinity();
  for (const double rate : {-1.0, kNone, kEndless}) {
    EXPECT_EQ(refused_fit(random.options, 1, rate), Refused{"FitOptions::least_tokens_per_second"});
    EXPECT_EQ(refused_fit(random.options, rate, 1), Refused{"DeviceBudget::bus_bytes_per_second"});
  }
  PlanOptions options = random.options;
  options.sequences = 0;
  EXPECT_EQ(refused_fit(options, 1, 1), (Refused{"PlanOptions::sequences", 0, 1}));
}

// For real headers, the layers' tensors and the others are all tensors, and the plan fits exactly
// into the bytes that are reported as needed, with and without additional layers.
TEST(FitRealModels, IsWhatIsPlanned) {
  const std::filesystem::path folder = shared_data("engine_figures");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    SCOPED_TRACE(entry.path().filename());
    const Model model = read_model(entry.path());
    const PlanOptions options = {.total_context = 4096};
    const Plan plan = make_plan(model, options);
    const internal::LayerBytes weights = internal::bytes_by_layer(plan.weights, model.shape);
    std::uint64_t sum = weights.rest;
    for (const internal::LayerBytes::Layer& layer : weights.layers) sum += layer.bytes;
    EXPECT_EQ(sum, plan.weights.bytes());
    EXPECT_EQ(weights.layers.size(), model.shape.layers.size());

    const auto fitted = [&](std::uint64_t device) {
      return fit(model, options, host_of(kMost), device_of(device));
    };
    const FitChoice full = fitted(kMost).front();
    EXPECT_EQ(full.mode, FitMode::full_cache);
    EXPECT_EQ(full.device.needed, bytes_of_plan(model, options));

    const std::uint64_t beside = full.device.needed - plan.weights.bytes();
    const std::uint64_t needed =
        choice_with_mode(fitted(kMost), FitMode::layer_streaming).device.needed;
    for (const std::uint64_t device : {needed, needed + model.tensors.bytes() / 3}) {
      const FitChoice choice = choice_with_mode(fitted(device), FitMode::layer_streaming);
      const StreamingPlan streaming = plan_streaming(model, {.device_bytes = device - beside});
      EXPECT_LE(streaming.device.bytes(), device - beside);
      EXPECT_EQ(choice.resident_layers, streaming.resident_layers());
      EXPECT_EQ(choice.resident_needed, streaming.device.bytes() + beside);
      EXPECT_EQ(choice.token_bytes, streaming.token_bytes);
      EXPECT_DOUBLE_EQ(choice.ceiling_tokens_per_second,
                       kRandomBus / static_cast<double>(streaming.token_bytes));
    }
    const StreamingOptions less = {.device_bytes = needed - beside - 1};
    EXPECT_EQ(refused([&] { return plan_streaming(model, less); }).limit, needed - beside);
    ++models;
  }
  EXPECT_GE(models, 17);
}

}  // namespace
}  // namespace tapedeck::tests
