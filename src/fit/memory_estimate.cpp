#include "tapedeck/fit/memory_estimate.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <system_error>

#include "base/checked_sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

constexpr double kBytesOfGb = 1e9;
constexpr double kGqaFactor = 0.30;
constexpr double kBaseOverheadGb = 0.8;
constexpr double kWeightsOverhead = 0.10;
constexpr double kTrainingFactor = 2.0;

double checked(double figure, const char* what) {
  if (std::isfinite(figure) && figure >= 0) return figure;
  throw InvalidArgument({.argument = what},
                        std::string(what) + " cannot be " + std::to_string(figure),
                        "give a finite number that is not negative");
}

// By way of the decimal digits, because figure × 100 is already rounded: 1.005 is below 1.005.
double round_to_cents(double figure, const char* what) {
  std::array<char, 512> digits{};  // the largest double has 309 before the point
  const auto [end, error] = std::to_chars(digits.begin(), digits.end(), checked(figure, what),
                                          std::chars_format::fixed, 2);
  double rounded = 0;
  if (error == std::errc{}) std::from_chars(digits.begin(), end, rounded);
  return rounded;
}

double kv_cache_gb(const ModelClass& model, std::uint64_t context_tokens) {
  const internal::CheckedSize elements =
      2 * internal::CheckedSize(model.n_layers) * model.hidden * context_tokens;
  const auto bytes = static_cast<double>((elements * 2).value_or_throw("the size of the KV cache"));
  return bytes * kGqaFactor / kBytesOfGb;
}

double overhead_gb(double weights, double factor) {
  if (factor >= kTrainingFactor) return kBaseOverheadGb + weights * (factor - 1);
  return (kBaseOverheadGb + kWeightsOverhead * weights) * factor;
}

}  // namespace

MemoryEstimate estimate_memory(const ModelClass& model, const QuantTier& quant,
                               std::uint64_t context_tokens, double job_overhead_factor) {
  const double weights = checked(model.billions, "billions of parameters") *
                         checked(quant.gb_per_billion, "GB per billion");
  const double factor = checked(job_overhead_factor, "job_overhead_factor");
  MemoryEstimate estimate = {
      .weights_gb = round_to_cents(weights, "weights"),
      .kv_cache_gb = round_to_cents(kv_cache_gb(model, context_tokens), "the KV cache"),
      .overhead_gb = round_to_cents(overhead_gb(weights, factor), "overhead"),
      .context_tokens = context_tokens};
  estimate.total_gb =
      round_to_cents(estimate.weights_gb + estimate.kv_cache_gb + estimate.overhead_gb, "total");
  return estimate;
}

TAPEDECK_ABI_END
}  // namespace tapedeck
