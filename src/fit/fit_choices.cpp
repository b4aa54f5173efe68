#include "fit/fit_choices.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <tuple>

#include "base/checked_sizes.hpp"
#include "plan/layer_bytes.hpp"
#include "plan/streaming_sizes.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kMostContext = std::uint64_t{1} << 24;  // where the model states none
constexpr std::uint64_t kMostDecodeBatch = 65'536;
constexpr std::uint64_t kSlots = 2;

// From the widest. Those that a model has already, or wider ones, do not help and do no harm.
constexpr std::array kCacheChoices = {DType::f16,  DType::q8_0, DType::q5_1,
                                      DType::q5_0, DType::q4_1, DType::q4_0};
constexpr std::array kWeightChoices = {DType::f16,  DType::q8_0, DType::q6_k, DType::q5_k,
                                       DType::q4_k, DType::q3_k, DType::q2_k};

/// What a plan holds, by layer. Bytes; history is that of all talks.
struct Sizes {
  CheckedSize weights = 0;
  CheckedSize history = 0;
  CheckedSize scratch = 0;
  CheckedSize overhead = 0;
  std::uint64_t talks = 1;
  LayerBytes weights_by_layer;
  LayerBytes history_by_layer;
  std::vector<StreamingStep> streaming;

  /// What is on a device in every way that uses one.
  [[nodiscard]] CheckedSize beside_weights() const { return history + scratch + overhead; }
  [[nodiscard]] CheckedSize all() const { return weights + beside_weights(); }
};

// What does not fit in 64 bits fits in no memory.
std::uint64_t needed(const CheckedSize& size) {
  return size.value().value_or(std::numeric_limits<std::uint64_t>::max());
}

class FitPlanner {
 public:
  FitPlanner(const FitModel& model, const PlanOptions& options, const FitBudget& budget)
      : model_(model), options_(options), budget_(budget) {}

  [[nodiscard]] FitChoice choose(FitMode mode) const {
    const Plan plan = model_.make(options_);
    FitChoice choice = place(mode, sizes_of(plan, options_));
    choice.largest_context = largest(mode, set_context, most_context());
    choice.largest_micro_batch = largest(mode, set_micro_batch, plan.context_per_talk);
    choice.largest_decode_batch = largest(mode, set_decode_batch, kMostDecodeBatch);
    if (!choice.fits()) {
      choice.kv_type = widest(mode, kCacheChoices, set_kv_type);
      choice.weights_type = widest(mode, kWeightChoices, set_weights_type);
    }
    return choice;
  }

 private:
  static void set_context(PlanOptions& options, std::uint64_t tokens) {
    options.total_context = tokens;
  }
  static void set_micro_batch(PlanOptions& options, std::uint64_t tokens) {
    options.micro_batch = tokens;
    options.batch = std::max(options.batch, tokens);
  }
  static void set_decode_batch(PlanOptions& options, std::uint64_t tokens) {
    options.decode_batch = tokens;
  }
  static void set_kv_type(PlanOptions& options, DType type) {
    options.key_type = options.value_type = type;
  }
  static void set_weights_type(PlanOptions& options, DType type) { options.weights_type = type; }

  // A context is that of all sequences together.
  [[nodiscard]] std::uint64_t most_context() const {
    const CheckedSize all = CheckedSize(model_.shape.context) * options_.sequences;
    const std::uint64_t most = model_.shape.context == 0 ? kMostContext : needed(all);
    return std::max(most, options_.total_context);
  }

  [[nodiscard]] Sizes sizes_of(const Plan& plan, const PlanOptions& options) const {
    Sizes sizes = {.weights = plan.weights.bytes(),
                   .history = CheckedSize(plan.history.bytes()) * plan.talks,
                   .scratch = plan.scratch.bytes(),
                   .overhead = plan.overhead,
                   .talks = plan.talks,
                   .weights_by_layer = bytes_by_layer(plan.weights, model_.shape),
                   .history_by_layer = bytes_by_layer(plan.history, model_.shape),
                   .streaming = {}};
    const bool own = model_.streaming && !options.weights_type;
    sizes.streaming = streaming_steps(
        own ? *model_.streaming : streaming_sizes(model_.shape, sizes.weights_by_layer), kSlots);
    return sizes;
  }

  [[nodiscard]] FitChoice place(FitMode mode, const Sizes& sizes) const {
    FitChoice choice = {.mode = mode,
                        .device = {.available = budget_.device_bytes.value_or(0)},
                        .host = {.available = budget_.host_bytes}};
    switch (mode) {
      case FitMode::full_cache:
        choice.device.needed = needed(sizes.all());
        break;
      case FitMode::layer_streaming:
        place_streaming(choice, sizes);
        break;
      case FitMode::first_layers:
        choice.reference_decoder = false;
        place_first_layers(choice, sizes);
        break;
      case FitMode::host_only:
        choice.host.needed = needed(sizes.all());
        break;
    }
    return choice;
  }

  // Layers that stay cost memory and spare the bus: so many must that the rate can be reached, and
  // as many do as there is room for.
  void place_streaming(FitChoice& choice, const Sizes& sizes) const {
    const std::span<const StreamingStep> steps = sizes.streaming;
    const std::size_t fast = first_fast_enough(steps);
    const std::size_t least = fast + least_device(steps.subspan(fast));
    choice.device.needed = needed(steps[least].device + sizes.beside_weights());
    choice.host.needed = needed(sizes.weights);
    choice.least_tokens_per_second = budget_.least_tokens_per_second;
    const std::uint64_t beside = needed(sizes.beside_weights());
    if (choice.device.available < beside) return;
    const auto resident = most_resident(steps, choice.device.available - beside);
    if (!resident) return;
    choice.resident_layers = *resident;
    choice.resident_needed = needed(steps[*resident].device + sizes.beside_weights());
    choice.token_bytes = steps[*resident].token_bytes;
    const double ceiling = steps[*resident].ceiling(budget_.bus_bytes_per_second);
    choice.ceiling_tokens_per_second = std::isfinite(ceiling) ? ceiling : 0;
  }

  // Of a bus that is not known, nobody can say that it is too slow.
  [[nodiscard]] std::size_t first_fast_enough(std::span<const StreamingStep> steps) const {
    std::size_t step = 0;
    if (budget_.bus_bytes_per_second == 0) return step;
    while (steps[step].ceiling(budget_.bus_bytes_per_second) < budget_.least_tokens_per_second) {
      ++step;  // the last one copies nothing
    }
    return step;
  }

  // As many layers as the device holds, one at least.
  static void place_first_layers(FitChoice& choice, const Sizes& sizes) {
    const LayerBytes& weights = sizes.weights_by_layer;
    const LayerBytes& history = sizes.history_by_layer;
    const std::size_t layers = std::max(weights.layers.size(), history.layers.size());
    const auto of_layer = [&](std::size_t layer) {
      return CheckedSize(weights.of(layer)) + CheckedSize(history.of(layer)) * sizes.talks;
    };
    CheckedSize device = sizes.scratch + sizes.overhead;
    std::size_t count = 0;
    for (; count < layers; ++count) {
      const CheckedSize more = device + of_layer(count);
      if (count != 0 && needed(more) > choice.device.available) break;
      device = more;
    }
    CheckedSize host =
        CheckedSize(weights.rest) + CheckedSize(history.rest) * sizes.talks + sizes.scratch;
    for (std::size_t layer = count; layer < layers; ++layer) host = host + of_layer(layer);
    choice.device_layers = count;
    choice.device.needed = needed(device);
    choice.host.needed = needed(host);
  }

  // Options that make no sense for this model fit nowhere.
  [[nodiscard]] bool fits(FitMode mode, const PlanOptions& options) const {
    try {
      return place(mode, sizes_of(model_.make(options), options)).fits();
    } catch (const InvalidArgument&) {
      return false;
    }
  }

  /// The largest value that fits, by bisection: what a plan holds is monotone in each of them.
  template <class Set>
  [[nodiscard]] std::uint64_t largest(FitMode mode, Set set, std::uint64_t most) const {
    const auto fits_with = [&](std::uint64_t value) {
      PlanOptions options = options_;
      set(options, value);
      return fits(mode, options);
    };
    if (fits_with(most)) return most;
    std::uint64_t low = 0;
    while (most - low > 1) {
      const std::uint64_t middle = low + (most - low) / 2;
      (fits_with(middle) ? low : most) = middle;
    }
    return low;
  }

  template <class Types, class Set>
  [[nodiscard]] std::optional<DType> widest(FitMode mode, const Types& types, Set set) const {
    for (const DType type : types) {
      PlanOptions options = options_;
      set(options, type);
      if (fits(mode, options)) return type;
    }
    return std::nullopt;
  }

  const FitModel& model_;
  const PlanOptions& options_;
  const FitBudget& budget_;
};

// Fitting ones lack nothing, and so come first, by preference.
bool ranks_before(const FitChoice& a, const FitChoice& b) {
  return std::tuple(a.shortfall(), a.mode) < std::tuple(b.shortfall(), b.mode);
}

}  // namespace

std::vector<FitChoice> fit_choices(const FitModel& model, const PlanOptions& options,
                                   const FitBudget& budget) {
  const FitPlanner planner(model, options, budget);
  std::vector<FitChoice> choices;
  if (budget.device_bytes) {
    for (const FitMode mode :
         {FitMode::full_cache, FitMode::layer_streaming, FitMode::first_layers}) {
      choices.push_back(planner.choose(mode));
    }
  }
  choices.push_back(planner.choose(FitMode::host_only));
  std::sort(choices.begin(), choices.end(), ranks_before);
  return choices;
}

}  // namespace tapedeck::internal
