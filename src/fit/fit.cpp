#include "tapedeck/fit/fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "fit/fit_choices.hpp"
#include "plan/streaming_layers.hpp"
#include "plan/streaming_sizes.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

/// The side of a choice that lacks more.
struct Bottleneck {
  FitSide side;
  std::string limit;
};

Bottleneck bottleneck_of(const FitChoice& choice, const std::string& device_limit,
                         const std::string& host_limit) {
  return choice.device.shortfall() > choice.host.shortfall()
             ? Bottleneck{choice.device, device_limit}
             : Bottleneck{choice.host, host_limit};
}

std::string rate_text(double tokens_per_second) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g", tokens_per_second);
  return text.data();
}

/// In three digits and rounded down, so that whoever asks for that gets it.
std::string ceiling_text(const FitChoice& choice) {
  const double ceiling = choice.ceiling_tokens_per_second;
  const double unit = std::pow(10.0, std::floor(std::log10(ceiling)) - 2);
  return rate_text(std::floor(ceiling / unit) * unit);
}

// The way that lacks least is perhaps another one; that this one is too slow is told all the same.
std::string too_slow_text(const std::vector<FitChoice>& choices) {
  for (const FitChoice& choice : choices) {
    if (!choice.too_slow()) continue;
    return std::string(description(choice.mode)) + " is too slow, the bus carries " +
           ceiling_text(choice) + " tokens a second of " +
           rate_text(choice.least_tokens_per_second) + "; ";
  }
  return {};
}

OutOfMemory::Facts facts_of(const std::string& model, const std::vector<FitChoice>& choices,
                            const Bottleneck& bottleneck) {
  const FitChoice& best = choices.front();
  return {.purpose = "nothing fits: " + too_slow_text(choices) + "of all ways to run " + model +
                     ", " + std::string(description(best.mode)) + " lacks least, " +
                     to_iec(best.shortfall()) + ". It",
          .limit = bottleneck.limit,
          .needed = bottleneck.side.needed,
          .available = bottleneck.side.available};
}

// The first choice that a remedy helps names it.
std::string advice_for(const std::vector<FitChoice>& choices) {
  const auto first = [&](auto has) { return std::find_if(choices.begin(), choices.end(), has); };
  std::string text;
  const auto append_remedy = [&](const std::string& remedy, const FitChoice& choice) {
    text += remedy + " (" + std::string(description(choice.mode)) + "), ";
  };
  const auto end = choices.end();
  if (const auto at = first([](const auto& one) { return one.largest_context != 0; }); at != end) {
    append_remedy("reduce the context to " + std::to_string(at->largest_context) + " tokens", *at);
  }
  if (const auto at = first([](const auto& one) { return one.kv_type.has_value(); }); at != end) {
    append_remedy("keep K and V as " + std::string(to_string(*at->kv_type)), *at);
  }
  if (const auto at = first([](const auto& one) { return one.weights_type.has_value(); });
      at != end) {
    append_remedy("take weights of type " + std::string(to_string(*at->weights_type)), *at);
  }
  if (const auto at = first([](const auto& one) { return one.too_slow() && one.host.fits(); });
      at != end) {
    append_remedy("ask for " + ceiling_text(*at) + " tokens a second", *at);
  }
  return text + (text.empty() ? "" : "or ") + "free " + to_iec(choices.front().shortfall());
}

void require_rate(const char* option, double rate) {
  if (std::isfinite(rate) && rate >= 0) return;
  throw InvalidArgument({.argument = option},
                        std::string(option) + " cannot be " + std::to_string(rate),
                        "give a finite rate that is not negative; 0 stands for none");
}

std::string name_of(const Model& model) {
  if (!model.shape.name.empty()) return model.shape.name;
  return model.path.empty() ? "the model" : model.path.filename().string();
}

}  // namespace

std::string_view description(FitMode mode) noexcept {
  switch (mode) {
    case FitMode::full_cache:
      return "full cache on the device";
    case FitMode::layer_streaming:
      return "layer streaming through two slots";
    case FitMode::first_layers:
      return "first layers on the device";
    default:
      return "host only";
  }
}

std::uint64_t FitChoice::margin() const noexcept {
  if (device.needed == 0) return host.margin();
  if (host.needed == 0) return device.margin();
  return std::min(device.margin(), host.margin());
}

std::uint64_t FitChoice::shortfall() const noexcept {
  const std::uint64_t both = device.shortfall() + host.shortfall();
  return both < host.shortfall() ? ~std::uint64_t{0} : both;  // as much as can be said
}

NothingFits::NothingFits(const std::string& model, std::vector<FitChoice> choices,
                         const std::string& device_limit, const std::string& host_limit)
    : OutOfMemory(
          facts_of(model, choices, bottleneck_of(choices.front(), device_limit, host_limit)),
          advice_for(choices)),
      choices_(std::move(choices)) {}

std::vector<FitChoice> fit(const Model& model, const PlanOptions& options, const HostBudget& host,
                           const std::optional<DeviceBudget>& device, const FitOptions& least) {
  require_rate("FitOptions::least_tokens_per_second", least.least_tokens_per_second);
  internal::FitModel planned = {
      .make = [&](const PlanOptions& asked) { return make_plan(model, asked); },
      .shape = model.shape};
  internal::FitBudget budget = {.host_bytes = host.available,
                                .least_tokens_per_second = least.least_tokens_per_second};
  if (device) {
    require_rate("DeviceBudget::bus_bytes_per_second", device->bus_bytes_per_second);
    budget.device_bytes = device->free;
    budget.bus_bytes_per_second = device->bus_bytes_per_second;
    if (!model.tensors.empty()) {
      planned.streaming = internal::streaming_sizes(model, internal::lay_out_layers(model));
    }
  }
  std::vector<FitChoice> choices = internal::fit_choices(planned, options, budget);
  if (choices.front().fits()) return choices;
  throw NothingFits(name_of(model), std::move(choices),
                    device ? "free memory of " + device->name : "", host.limit);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
