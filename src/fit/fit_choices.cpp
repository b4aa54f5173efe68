// SPDX-License-Identifier: Apache-2.0
#include "fit/fit_choices.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <tuple>

#include "plan/layer_bytes.hpp"
#include "plan/sizes.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kMostContext = std::uint64_t{1} << 24;  // if the model states none
constexpr std::uint64_t kMostDecodeBatch = 65'536;
constexpr std::uint64_t kSlots = 2;

// Widest first. Trying types that are not narrower than the model's own is useless but harmless.
constexpr std::array kCacheChoices = {DType::f16,  DType::q8_0, DType::q5_1,
                                      DType::q5_0, DType::q4_1, DType::q4_0};
constexpr std::array kWeightChoices = {DType::f16,  DType::q8_0, DType::q6_k, DType::q5_k,
                                       DType::q4_k, DType::q3_k, DType::q2_k};

/// What a device holds in addition to weights.
CheckedSize beside_weights(const Plan& plan) {
  return CheckedSize(plan.history.bytes()) * plan.talks + plan.scratch.bytes() + plan.overhead;
}

bool splits_layers(FitMode mode) {
  return mode == FitMode::layer_streaming || mode == FitMode::first_layers;
}

class FitPlanner {
 public:
  explicit FitPlanner(const FitQuestion& asked)
      : asked_(asked), device_(asked.device.value_or(DeviceBudget{})) {}

  [[nodiscard]] FitChoice choose(FitMode mode) const {
    const Plan plan = asked_.make(asked_.options);
    FitChoice choice = choice_with(mode, plan, asked_.options);
    choice.warnings = plan.warnings;
    choice.certainty = plan.certainty;
    const bool own = asked_.weights && !asked_.options.weights_type;
    if (splits_layers(mode) && !own) choice.certainty.weights = Certainty::estimated;
    choice.largest_context = largest_value(
        mode, most_context(),
        [](PlanOptions& options, std::uint64_t tokens) { options.total_context = tokens; });
    choice.largest_micro_batch =
        largest_value(mode, plan.context_per_talk, [](PlanOptions& options, std::uint64_t tokens) {
          options.micro_batch = tokens;
          options.batch = std::max(options.batch, tokens);
        });
    choice.largest_decode_batch = largest_value(
        mode, kMostDecodeBatch,
        [](PlanOptions& options, std::uint64_t tokens) { options.decode_batch = tokens; });
    if (choice.fits()) return choice;
    choice.kv_type = widest_type(mode, kCacheChoices, [](PlanOptions& options, DType type) {
      options.key_type = options.value_type = type;
    });
    choice.weights_type = widest_type(mode, kWeightChoices, [](PlanOptions& options, DType type) {
      options.weights_type = type;
    });
    return choice;
  }

 private:
  // The context of all sequences together.
  [[nodiscard]] std::uint64_t most_context() const {
    const CheckedSize all = CheckedSize(asked_.shape.context) * asked_.options.sequences;
    const std::uint64_t most = asked_.shape.context == 0 ? kMostContext : saturated(all);
    return std::max(most, asked_.options.total_context);
  }

  [[nodiscard]] FitChoice choice_with(FitMode mode, const Plan& plan,
                                      const PlanOptions& options) const {
    // Foreign memory is the host's in every mode.
    FitChoice choice = {
        .mode = mode,
        .device = {.available = device_.free},
        .host = {.needed = plan.breakdown().foreign, .available = asked_.host.available}};
    const LayerBytes weights = bytes_by_layer(plan.weights, asked_.shape);
    const bool own = asked_.weights && !options.weights_type;
    switch (mode) {
      case FitMode::full_cache:
        choice.device.needed = saturated(beside_weights(plan) + plan.weights.bytes());
        break;
      case FitMode::layer_streaming:
        place_streaming(choice, plan, own ? *asked_.weights : weights);
        break;
      case FitMode::first_layers:
        choice.reference_decoder = false;
        place_first_layers(choice, plan, weights, bytes_by_layer(plan.history, asked_.shape));
        break;
      case FitMode::host_only:
        add_to_host(choice, beside_weights(plan) + plan.weights.bytes());
        break;
    }
    if (device_.integrated && mode != FitMode::host_only) {
      choice.integrated = true;
      add_to_host(choice, choice.device.needed);
    }
    return choice;
  }

  static void add_to_host(FitChoice& choice, const CheckedSize& bytes) {
    choice.host.needed = saturated(bytes + choice.host.needed);
  }

  // Resident layers cost memory but are not copied. `needed` has as many as the rate requires,
  // `resident_layers` as many as fit.
  void place_streaming(FitChoice& choice, const Plan& plan, const LayerBytes& weights) const {
    const std::vector<StreamingStep> all = streaming_steps(weights, kSlots);
    const std::span<const StreamingStep> steps = all;
    const CheckedSize beside = beside_weights(plan);
    const std::size_t fast = first_fast_enough(steps);
    const std::size_t least = fast + least_device(steps.subspan(fast));
    choice.device.needed = saturated(steps[least].device + beside);
    add_to_host(choice, plan.weights.bytes());
    choice.least_tokens_per_second = asked_.least.least_tokens_per_second;
    std::uint64_t room = choice.device.available;
    if (device_.integrated)
      room = std::min(room, FitSide{choice.host.needed, choice.host.available}.margin());
    if (room < saturated(beside)) return;
    const auto resident = most_resident(steps, room - saturated(beside));
    if (!resident) return;
    choice.resident_layers = *resident;
    choice.resident_needed = saturated(steps[*resident].device + beside);
    choice.token_bytes = steps[*resident].token_bytes;
    const double ceiling = steps[*resident].ceiling(device_.bus_bytes_per_second);
    choice.ceiling_tokens_per_second = std::isfinite(ceiling) ? ceiling : 0;
  }

  // A bus of unknown speed is never too slow.
  [[nodiscard]] std::size_t first_fast_enough(std::span<const StreamingStep> steps) const {
    std::size_t step = 0;
    if (device_.bus_bytes_per_second == 0) return step;
    while (steps[step].ceiling(device_.bus_bytes_per_second) <
           asked_.least.least_tokens_per_second) {
      ++step;  // ends, because the last step copies nothing
    }
    return step;
  }

  // Places as many layers on the device as it can hold, but at least one.
  static void place_first_layers(FitChoice& choice, const Plan& plan, const LayerBytes& weights,
                                 const LayerBytes& history) {
    const std::size_t layers = std::max(weights.layers.size(), history.layers.size());
    const auto of_layer = [&](std::size_t layer) {
      return CheckedSize(history.of_layer(layer)) * plan.talks + weights.of_layer(layer);
    };
    CheckedSize device = CheckedSize(plan.scratch.bytes()) + plan.overhead;
    std::size_t count = 0;
    for (; count < layers; ++count) {
      const CheckedSize more = device + of_layer(count);
      if (count != 0 && saturated(more) > choice.device.available) break;
      device = more;
    }
    CheckedSize host = CheckedSize(history.rest) * plan.talks + weights.rest + plan.scratch.bytes();
    for (std::size_t layer = count; layer < layers; ++layer) host = host + of_layer(layer);
    choice.device_layers = count;
    choice.device.needed = saturated(device);
    add_to_host(choice, host);
  }

  // Options that are invalid for this model do not fit.
  [[nodiscard]] bool fits_with(FitMode mode, auto set, auto value) const {
    PlanOptions options = asked_.options;
    set(options, value);
    try {
      return choice_with(mode, asked_.make(options), options).fits();
    } catch (const InvalidArgument&) {
      return false;
    }
  }

  /// The largest value that fits, by bisection: a plan's size is monotonic in it.
  [[nodiscard]] std::uint64_t largest_value(FitMode mode, std::uint64_t most, auto set) const {
    if (fits_with(mode, set, most)) return most;
    std::uint64_t low = 0;
    while (most - low > 1) {
      const std::uint64_t middle = low + (most - low) / 2;
      (fits_with(mode, set, middle) ? low : most) = middle;
    }
    return low;
  }

  [[nodiscard]] std::optional<DType> widest_type(FitMode mode, std::span<const DType> types,
                                                 auto set) const {
    for (const DType type : types) {
      if (fits_with(mode, set, type)) return type;
    }
    return std::nullopt;
  }

  const FitQuestion& asked_;
  const DeviceBudget device_;
};

}  // namespace

std::vector<FitChoice> fit_choices(const FitQuestion& asked) {
  const FitPlanner planner(asked);
  std::vector<FitChoice> choices;
  for (const FitMode mode :
       {FitMode::full_cache, FitMode::layer_streaming, FitMode::first_layers, FitMode::host_only}) {
    if (!asked.device && mode != FitMode::host_only) continue;
    if (splits_layers(mode) && asked.options.weights_bytes != 0) continue;  // of unknown sizes
    choices.push_back(planner.choose(mode));
  }
  // Modes that fit have no shortfall, so they come first, in order of preference.
  std::ranges::sort(choices, {}, [](const FitChoice& choice) {
    return std::tuple(choice.shortfall(), choice.mode);
  });
  return choices;
}

}  // namespace tapedeck::internal
