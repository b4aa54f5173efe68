// What `fit` says, checked against plans of models of any shape.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/most.hpp"
#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "fit/choice_with_mode.hpp"
#include "plan/layer_bytes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;

/// Shapes that no rule made: every kind of layer, any width.
class RandomModel {
 public:
  explicit RandomModel(std::uint32_t seed) : random_(seed) {
    ModelShape& shape = model.shape;
    shape.architecture = "random";
    shape.hidden = 32 * up_to(64);
    shape.vocabulary = up_to(50'000);
    shape.context = up_to(20'000);
    shape.layers.resize(up_to(12));
    for (LayerShape& layer : shape.layers) make(layer);
    const auto layers = static_cast<std::uint64_t>(shape.layers.size());
    shape.parameters = {{"embedding", ParameterKind::embedding, 1, shape.vocabulary, shape.hidden},
                        {"layers.attention.q",
                         ParameterKind::matrix,
                         layers,
                         shape.hidden,
                         shape.hidden,
                         {.part = Part::query, .every_layer = true}},
                        {"layers.norm",
                         ParameterKind::norm,
                         2 * layers,
                         1,
                         shape.hidden,
                         {.part = Part::norm, .every_layer = true}}};
    shape.dtype = DType::f16;
    options = {.total_context = up_to(shape.context),
               .sequences = up_to(4),
               .unified = up_to(2) == 1,
               .decode_batch = up_to(16),
               .micro_batch = up_to(1024),
               .flash_attention = up_to(2) == 1,
               .overhead = up_to(1'000'000)};
  }

  Model model;
  PlanOptions options;

 private:
  std::uint64_t up_to(std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(1, most)(random_);
  }

  void make(LayerShape& layer) {
    layer.attention = up_to(3) == 1 ? Attention::windowed : Attention::full;
    layer.window = layer.attention == Attention::windowed ? up_to(4096) : 0;
    layer.heads = up_to(16);
    layer.kv_heads = layer.heads;
    layer.key_dim = layer.value_dim = 32 * up_to(8);
    layer.ffn = up_to(4096);
  }

  std::mt19937 random_;
};

HostBudget host_of(std::uint64_t bytes) { return {.available = bytes, .limit = "a test"}; }

constexpr double kRandomBus = 1e9;  // bytes a second

DeviceBudget device_of(std::uint64_t bytes) {
  return {
      .free = bytes, .total = bytes, .name = "a test's device", .bus_bytes_per_second = kRandomBus};
}

FitChoice random_choice(const RandomModel& random, FitMode mode, std::uint64_t host,
                        std::uint64_t device, const FitOptions& least = {}) {
  try {
    return choice_with_mode(
        fit(random.model, random.options, host_of(host), device_of(device), least), mode);
  } catch (const NothingFits& error) {
    return choice_with_mode(error.choices(), mode);
  }
}

// One byte less budget flips the answer, on either side.
TEST(FitRandom, OneByteDecides) {
  constexpr std::uint64_t kEnough = std::uint64_t{1} << 50;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const RandomModel random(seed);
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

// And so it does where a rate is asked for that needs some layers on the device.
TEST(FitRandom, OneByteDecidesWhetherItIsFastEnough) {
  constexpr std::uint64_t kEnough = std::uint64_t{1} << 50;
  std::mt19937 dice(2);
  int slow = 0;
  for (std::uint32_t seed = 300; seed < 340; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomModel random(seed);
    const auto with = [&](std::uint64_t device, double rate) {
      return random_choice(random, FitMode::layer_streaming, kEnough, device, {rate});
    };
    const FitChoice any = with(kEnough, 0);
    const FitChoice least = with(any.device.needed, 0);
    if (least.token_bytes == 0) continue;  // too few layers to stream
    // Between what it reaches with the least memory, and ten times that.
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
    slow += less.too_slow() ? 1 : 0;
    const FitChoice without_rate = with(exact.device.needed - 1, 0);
    EXPECT_EQ(without_rate.resident_layers, less.resident_layers);
    EXPECT_EQ(without_rate.fits(), less.too_slow());
  }
  EXPECT_GE(slow, 10);
}

// What is said to be the largest fits, and one more does not.
TEST(FitRandom, TheLargestIsTheLargest) {
  std::mt19937 dice(1);
  int bounded = 0;
  for (std::uint32_t seed = 100; seed < 160; ++seed) {
    const RandomModel random(seed);
    const std::uint64_t all = random_choice(random, FitMode::host_only, kMost, 0).host.needed;
    const std::uint64_t budget = all / 2 + dice() % all;
    const FitChoice choice = random_choice(random, FitMode::host_only, budget, 0);
    const auto fits = [&](auto set, std::uint64_t value) {
      PlanOptions options = random.options;
      set(options, value);
      const Plan plan = make_plan(random.model, options);
      return plan.weights.bytes() + plan.history.bytes() * plan.talks + plan.scratch.bytes() +
                 plan.overhead <=
             budget;
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
  EXPECT_GT(bounded, 60);  // the rare end of the range is not all that was met
}

// What bisection takes for granted.
TEST(FitRandom, WhatAPlanHoldsIsMonotone) {
  const auto bytes = [](const RandomModel& random, const PlanOptions& options) {
    const Plan plan = make_plan(random.model, options);
    return plan.weights.bytes() + plan.history.bytes() * plan.talks + plan.scratch.bytes();
  };
  for (std::uint32_t seed = 200; seed < 230; ++seed) {
    const RandomModel random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    PlanOptions options = random.options;
    std::uint64_t before = 0;
    for (options.total_context = 1; options.total_context < 8192; options.total_context += 97) {
      const std::uint64_t now = bytes(random, options);
      EXPECT_GE(now, before) << options.total_context;
      before = now;
    }
    options = random.options;
    before = 0;
    for (options.micro_batch = 1; options.micro_batch < 2048; options.micro_batch += 61) {
      const std::uint64_t now = bytes(random, options);
      EXPECT_GE(now, before) << options.micro_batch;
      before = now;
    }
  }
}

TEST(NothingFits, SaysByHowMuchAndWhatToChange) {
  const RandomModel random(7);
  const std::uint64_t needed = random_choice(random, FitMode::host_only, kMost, 0).host.needed;
  const auto error = thrown<OutOfMemory>(
      [&] { static_cast<void>(fit(random.model, random.options, host_of(needed - 1))); });
  EXPECT_EQ(error.needed(), needed);
  EXPECT_EQ(error.available(), needed - 1);
  EXPECT_EQ(error.limit(), "a test");
  EXPECT_THAT(error.what(), HasSubstr("host only lacks least, 1 B"));
  EXPECT_THAT(error.advice(), HasSubstr("reduce the context to "));
  EXPECT_THAT(error.advice(), HasSubstr("keep K and V as q8_0"));
  EXPECT_THAT(error.advice(), HasSubstr("free 1 B"));
}

TEST(NothingFits, NamesTheSideThatLacksMore) {
  const RandomModel random(7);
  const auto error = thrown<NothingFits>(
      [&] { static_cast<void>(fit(random.model, random.options, host_of(0), device_of(0))); });
  ASSERT_EQ(error.choices().size(), 4U);
  EXPECT_FALSE(error.choices().front().fits());
  EXPECT_EQ(error.available(), 0U);
  const FitChoice& best = error.choices().front();
  EXPECT_EQ(error.needed(), std::max(best.device.needed, best.host.needed));
  EXPECT_THAT(error.limit(), HasSubstr(best.device.needed > best.host.needed ? "device" : "test"));
  EXPECT_THAT(error.advice(), HasSubstr("free "));
  EXPECT_EQ(error.advice().find("reduce"), std::string::npos);  // no context helps
}

TEST(NothingFits, SaysThatTheBusIsTooSlowAndWhatItCarries) {
  const RandomModel random(8);
  const std::uint64_t device =
      random_choice(random, FitMode::layer_streaming, kMost, kMost).device.needed;
  // The host holds the weights, and no more; the device no whole model.
  const std::uint64_t host = make_plan(random.model, random.options).weights.bytes();
  const auto fit_with = [&](double rate) {
    return fit(random.model, random.options, host_of(host), device_of(device), {rate});
  };
  const FitChoice slow = fit_with(0).front();
  ASSERT_EQ(slow.mode, FitMode::layer_streaming);
  const auto error = thrown<NothingFits>(
      [&] { static_cast<void>(fit_with(slow.ceiling_tokens_per_second * 1.001)); });
  EXPECT_THAT(error.what(), HasSubstr("streaming through two slots is too slow, the bus carries "));
  const std::string advice(error.advice());
  EXPECT_THAT(advice, HasSubstr(" tokens a second (layer streaming"));
  // Who follows the advice is served.
  const double advised = std::stod(advice.substr(advice.find("ask for ") + 8));
  EXPECT_GT(advised, slow.ceiling_tokens_per_second * 0.98);
  EXPECT_EQ(fit_with(advised).front().mode, FitMode::layer_streaming);
}

TEST(Fit, RatesThatMakeNoSenseAreErrors) {
  const RandomModel random(7);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  constexpr double kEndless = std::numeric_limits<double>::infinity();
  for (const double rate : {-1.0, kNone, kEndless}) {
    DeviceBudget device = device_of(kMost);
    const auto refused = [&](const FitOptions& least) {
      const auto run = [&] {
        static_cast<void>(fit(random.model, random.options, host_of(kMost), device, least));
      };
      return thrown<InvalidArgument>(run).argument();
    };
    EXPECT_EQ(refused({rate}), "FitOptions::least_tokens_per_second");
    device.bus_bytes_per_second = rate;
    EXPECT_EQ(refused({}), "DeviceBudget::bus_bytes_per_second");
  }
}

TEST(Fit, OptionsThatMakeNoSenseAreErrors) {
  const RandomModel random(7);
  PlanOptions options = random.options;
  options.sequences = 0;
  EXPECT_THROW(static_cast<void>(fit(random.model, options, host_of(kMost))), InvalidArgument);
}

// Real headers: the layers' tensors and what is beside them are all there is.
TEST(FitRealModels, LayersAndTheRestAreTheWhole) {
  const std::filesystem::path folder = shared_data("engine_figures");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    SCOPED_TRACE(entry.path().filename());
    const Model model = read_model(entry.path());
    const Plan plan = make_plan(model, {.total_context = 4096});
    const internal::LayerBytes weights = internal::bytes_by_layer(plan.weights, model.shape);
    std::uint64_t sum = weights.rest;
    for (const std::uint64_t bytes : weights.layers) sum += bytes;
    EXPECT_EQ(sum, plan.weights.bytes());
    EXPECT_EQ(weights.layers.size(), model.shape.layers.size());
    const std::vector<FitChoice> choices =
        fit(model, {.total_context = 4096}, host_of(kMost), device_of(kMost));
    EXPECT_EQ(choices.front().mode, FitMode::full_cache);
    EXPECT_EQ(choices.front().device.needed,
              plan.weights.bytes() + plan.history.bytes() * plan.talks + plan.scratch.bytes());
    ++models;
  }
  EXPECT_GE(models, 17);
}

// What fits is what is planned: at the byte that is said to be needed, and with some layers more.
TEST(FitRealModels, StreamingIsWhatIsPlanned) {
  const std::filesystem::path folder = shared_data("engine_figures");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    SCOPED_TRACE(entry.path().filename());
    const Model model = read_model(entry.path());
    const Plan plan = make_plan(model, {.total_context = 4096});
    const std::uint64_t beside = plan.history.bytes() * plan.talks + plan.scratch.bytes();
    const auto streamed = [&](std::uint64_t device) {
      return choice_with_mode(
          fit(model, {.total_context = 4096}, host_of(kMost), device_of(device)),
          FitMode::layer_streaming);
    };
    const std::uint64_t needed = streamed(kMost).device.needed;
    for (const std::uint64_t device : {needed, needed + model.tensors.bytes() / 3}) {
      const FitChoice choice = streamed(device);
      const StreamingPlan streaming = plan_streaming(model, {.device_bytes = device - beside});
      EXPECT_LE(streaming.device.bytes(), device - beside);
      EXPECT_EQ(choice.resident_layers, streaming.resident_layers());
      EXPECT_EQ(choice.resident_needed, streaming.device.bytes() + beside);
      EXPECT_EQ(choice.token_bytes, streaming.token_bytes);
      EXPECT_DOUBLE_EQ(choice.ceiling_tokens_per_second, streaming_ceiling(streaming, kRandomBus));
    }
    EXPECT_THROW(static_cast<void>(plan_streaming(model, {.device_bytes = needed - beside - 1})),
                 InvalidArgument);
  }
}

}  // namespace
}  // namespace tapedeck::tests
