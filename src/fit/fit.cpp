// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/amounts.hpp"
#include "fit/fit_choices.hpp"
#include "plan/layer_bytes.hpp"
#include "plan/sizes.hpp"
#include "plan/streaming_layers.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

std::string rate_text(double tokens_per_second) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g", tokens_per_second);
  return text.data();
}

/// Three digits, rounded down so that the stated rate can be reached.
std::string ceiling_text(const FitChoice& choice) {
  const double ceiling = choice.ceiling_tokens_per_second;
  const double unit = std::pow(10.0, std::floor(std::log10(ceiling)) - 2);
  return rate_text(std::floor(ceiling / unit) * unit);
}

// The error states this even if another mode has the smallest shortfall.
std::string too_slow_text(const std::vector<FitChoice>& choices) {
  for (const FitChoice& choice : choices) {
    if (!choice.too_slow()) continue;
    return std::string(description(choice.mode)) + " is too slow: the bus carries " +
           ceiling_text(choice) + " tokens per second of the requested " +
           rate_text(choice.least_tokens_per_second) + "; ";
  }
  return {};
}

// Describes the side that lacks more.
OutOfMemory::Facts facts_of(const std::string& model, const std::vector<FitChoice>& choices,
                            const std::string& device_limit, const std::string& host_limit) {
  const FitChoice& best = choices.front();
  const bool device = best.device.shortfall() > best.host.shortfall();
  const FitSide& side = device ? best.device : best.host;
  return {
      .purpose = "running " + model + " in mode \"" + std::string(description(best.mode)) + "\"",
      .limit = device ? device_limit : host_limit,
      .needed = side.needed,
      .available = side.available};
}

std::string closest_text(const std::vector<FitChoice>& choices) {
  return "nothing fits: " + too_slow_text(choices) + "the closest mode lacks " +
         to_iec(choices.front().shortfall()) + "; ";
}

// Each remedy is stated for the first choice that it helps.
std::string advice_for(const std::vector<FitChoice>& choices) {
  std::string text;
  const auto append_first = [&](auto remedy_of) {
    for (const FitChoice& choice : choices) {
      const std::string remedy = remedy_of(choice);
      if (remedy.empty()) continue;
      text += remedy + " (" + std::string(description(choice.mode)) + "), ";
      return;
    }
  };
  append_first([](const FitChoice& one) {
    if (one.largest_context == 0) return std::string();
    return "reduce the context to " + internal::count_of(one.largest_context, "token");
  });
  append_first([](const FitChoice& one) {
    return one.kv_type ? "store K and V as " + std::string(to_string(*one.kv_type)) : std::string();
  });
  append_first([](const FitChoice& one) {
    if (!one.weights_type) return std::string();
    return "use weights of type " + std::string(to_string(*one.weights_type));
  });
  append_first([](const FitChoice& one) {
    if (!one.too_slow() || !one.host.fits()) return std::string();
    return "reduce the rate to " + ceiling_text(one) + " tokens per second";
  });
  return text + (text.empty() ? "" : "or ") + "free " + to_iec(choices.front().shortfall());
}

std::string bytes_beside_weights(const Plan& plan) {
  const Breakdown sums = plan.breakdown();
  return to_iec(internal::saturated(internal::CheckedSize(sums.history) + sums.scratch +
                                    sums.overhead + sums.foreign));
}

std::string name_of(const Model& model) {
  if (!model.shape.name.empty()) return model.shape.name;
  return model.path.empty() ? "the model" : model.path.filename().string();
}

}  // namespace

std::string_view description(FitMode mode) noexcept {
  constexpr std::array<std::string_view, 4> texts = {"full cache on the device",
                                                     "layer streaming through two slots",
                                                     "first layers on the device", "host only"};
  return texts[static_cast<std::size_t>(mode)];
}

std::uint64_t FitChoice::margin() const noexcept {
  if (device.needed == 0) return host.margin();
  if (host.needed == 0) return device.margin();
  return std::min(device.margin(), host.margin());
}

std::uint64_t FitChoice::shortfall() const noexcept {
  if (integrated) return std::max(device.shortfall(), host.shortfall());
  const std::uint64_t both = device.shortfall() + host.shortfall();
  return both < host.shortfall() ? ~std::uint64_t{0} : both;  // saturates
}

NothingFits::NothingFits(const std::string& model, std::vector<FitChoice> choices,
                         const std::string& device_limit, const std::string& host_limit)
    : OutOfMemory(facts_of(model, choices, device_limit, host_limit), closest_text(choices),
                  advice_for(choices)),
      choices_(std::move(choices)) {}

UnknownWeights::UnknownWeights(const std::string& model, const Plan& plan)
    : InvalidArgument({.argument = "PlanOptions::weights_bytes", .value = 0},
                      "whether " + model +
                          " fits is unknown, because the sizes of its weights are; its caches and "
                          "buffers alone need " +
                          bytes_beside_weights(plan),
                      "state the size of its weights with PlanOptions::weights_bytes"),
      warnings_(plan.warnings) {}

std::vector<FitChoice> fit(const Model& model, const PlanOptions& options, const HostBudget& host,
                           const std::optional<DeviceBudget>& device, const FitOptions& least) {
  internal::require_finite("FitOptions::least_tokens_per_second", least.least_tokens_per_second);
  const Plan plan = make_plan(model, options);
  if (plan.certainty.weights == Certainty::unknown) throw UnknownWeights(name_of(model), plan);
  const HostBudget budget = host.after_mapping(sum_of(plan.foreign).addresses);
  internal::FitQuestion question = {
      .make = [&](const PlanOptions& asked) { return make_plan(model, asked); },
      .shape = model.shape,
      .options = options,
      .host = budget,
      .device = device,
      .least = least};
  if (device) {
    internal::require_finite("DeviceBudget::bus_bytes_per_second", device->bus_bytes_per_second);
    if (!model.tensors.empty()) {
      question.weights = internal::bytes_by_layer(model, internal::lay_out_layers(model));
    }
  }
  std::vector<FitChoice> choices = internal::fit_choices(question);
  if (choices.front().fits()) return choices;
  const bool named = device && !device->name.empty();
  throw NothingFits(name_of(model), std::move(choices),
                    named ? "free memory of " + device->name : "DeviceBudget::free",
                    budget.limit.empty() ? "HostBudget::available" : budget.limit);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
