#include "plan/fit_choices.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <map>
#include <tuple>

#include "plan/checked_sizes.hpp"
#include "plan/layer_bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI::plan {
namespace {

constexpr std::uint64_t kMostContext = std::uint64_t{1} << 24;  // where the model states none
constexpr std::uint64_t kMostDecodeBatch = 65'536;
constexpr std::uint64_t kSlots = 2;

// From the widest. Those that a model has already, or wider ones, do not help and do no harm.
constexpr std::array kCacheTypes = {DType::f16,  DType::q8_0, DType::q5_1,
                                    DType::q5_0, DType::q4_1, DType::q4_0};
constexpr std::array kWeightTypes = {DType::f16,  DType::q8_0, DType::q6_k, DType::q5_k,
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

  [[nodiscard]] CheckedSize all() const { return weights + history + scratch + overhead; }
};

Sizes sizes_of(const Plan& plan, const ModelShape& shape) {
  return {.weights = plan.weights.bytes(),
          .history = CheckedSize(plan.history.bytes()) * plan.talks,
          .scratch = plan.scratch.bytes(),
          .overhead = plan.overhead,
          .talks = plan.talks,
          .weights_by_layer = bytes_by_layer(plan.weights, shape),
          .history_by_layer = bytes_by_layer(plan.history, shape)};
}

// What does not fit in 64 bits fits in no memory.
std::uint64_t needed(const CheckedSize& size) {
  return size.value().value_or(std::numeric_limits<std::uint64_t>::max());
}

class FitPlanner {
 public:
  FitPlanner(const PlanFunction& make, const ModelShape& shape, const PlanOptions& options,
             std::uint64_t host_bytes, std::optional<std::uint64_t> device_bytes)
      : make_(make),
        shape_(shape),
        options_(options),
        host_bytes_(host_bytes),
        device_bytes_(device_bytes) {}

  [[nodiscard]] FitChoice choose(FitMode mode) const {
    const Plan plan = make_(options_);
    FitChoice choice = place(mode, sizes_of(plan, shape_));
    choice.largest_context = largest(mode, set_context, most_context());
    choice.largest_micro_batch = largest(mode, set_micro_batch, plan.context);
    choice.largest_decode_batch = largest(mode, set_decode_batch, kMostDecodeBatch);
    if (!choice.fits()) {
      choice.kv_type = widest(mode, kCacheTypes, set_kv_type);
      choice.weights_type = widest(mode, kWeightTypes, set_weights_type);
    }
    return choice;
  }

 private:
  static void set_context(PlanOptions& options, std::uint64_t tokens) { options.context = tokens; }
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
    const CheckedSize all = CheckedSize(shape_.context) * options_.sequences;
    const std::uint64_t most = shape_.context == 0 ? kMostContext : needed(all);
    return std::max(most, options_.context);
  }

  [[nodiscard]] FitChoice place(FitMode mode, const Sizes& sizes) const {
    FitChoice choice = {.mode = mode,
                        .device = {.available = device_bytes_.value_or(0)},
                        .host = {.available = host_bytes_}};
    switch (mode) {
      case FitMode::full_cache:
        choice.device.needed = needed(sizes.all());
        break;
      case FitMode::layer_streaming:
        choice.device.needed = needed(CheckedSize(sizes.weights_by_layer.rest) +
                                      CheckedSize(sizes.weights_by_layer.largest()) * kSlots +
                                      sizes.history + sizes.scratch + sizes.overhead);
        choice.host.needed = needed(sizes.weights);
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
      return place(mode, sizes_of(make_(options), shape_)).fits();
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

  const PlanFunction& make_;
  const ModelShape& shape_;
  const PlanOptions& options_;
  std::uint64_t host_bytes_;
  std::optional<std::uint64_t> device_bytes_;
};

// Fitting ones lack nothing, and so come first, by preference.
bool ranks_before(const FitChoice& a, const FitChoice& b) {
  return std::tuple(a.shortfall(), a.mode) < std::tuple(b.shortfall(), b.mode);
}

}  // namespace

std::vector<FitChoice> fit_choices(const PlanFunction& make, const ModelShape& shape,
                                   const PlanOptions& options, std::uint64_t host_bytes,
                                   std::optional<std::uint64_t> device_bytes) {
  const FitPlanner planner(make, shape, options, host_bytes, device_bytes);
  std::vector<FitChoice> choices;
  if (device_bytes) {
    for (const FitMode mode :
         {FitMode::full_cache, FitMode::layer_streaming, FitMode::first_layers}) {
      choices.push_back(planner.choose(mode));
    }
  }
  choices.push_back(planner.choose(FitMode::host_only));
  std::sort(choices.begin(), choices.end(), ranks_before);
  return choices;
}

}  // namespace tapedeck::inline TAPEDECK_ABI::plan
