// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/quantization.hpp"

#include <array>
#include <cmath>

#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "plan/cache_cells.hpp"
#include "plan/sizes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/fit/kv_cache.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

constexpr std::uint64_t kDefaultHeadroomGb = 2;
constexpr double kMostBillions = 1e9;  // 10^18 parameters

// Both in the order of Quantization.
constexpr std::array<std::string_view, 3> kLabels = {"fp16", "int8", "int4"};
constexpr std::array kBytesOfWeight = {2.0, 1.0, 0.5};

/// The closed formula for the cache, from the fields that upstream reads; `nullopt` if one is
/// missing.
std::optional<std::uint64_t> uniform_cache(const Metadata& config,
                                           const QuantizationRequest& request) {
  const std::string prefix = config.has("num_hidden_layers") ? "" : "text_config.";
  const auto figure = [&](const char* key) { return config.integer(prefix + key); };
  const auto layers = figure("num_hidden_layers");
  const auto heads = figure("num_attention_heads");
  const auto kv_heads = figure("num_key_value_heads");
  const auto hidden = figure("hidden_size");
  if (!layers || !heads || !kv_heads || !hidden) return std::nullopt;
  const auto head_dim = figure("head_dim");
  if (!head_dim && (*heads == 0 || *hidden % *heads != 0)) {
    throw InvalidArgument({.argument = "num_attention_heads", .value = *heads},
                          "the config's num_attention_heads, " + std::to_string(*heads) +
                              ", does not divide its hidden_size, " + std::to_string(*hidden),
                          "correct them or add head_dim, which is their quotient if not stated");
  }
  return kv_cache_bytes({.num_layers = *layers,
                         .num_kv_heads = *kv_heads,
                         .head_dim = head_dim ? *head_dim : *hidden / *heads,
                         .ctx_len = request.context,
                         .batch = request.batch,
                         .int8_kv = request.int8_kv});
}

/// Bytes that the layers of a known architecture cache.
std::uint64_t cache_of(const ModelShape& shape, const QuantizationRequest& request) {
  const DType type = request.int8_kv ? DType::i8 : DType::f16;
  const PlanOptions options = {
      .profile = request.profile,
      .total_context =
          (internal::CheckedSize(request.context) * request.batch).value_or_throw("the context"),
      .sequences = request.batch,
      .key_type = type,
      .value_type = type,
      .cell_rounding = kKvCacheStep};
  const internal::CacheCells cells = request.profile.plan_cells(shape, options);
  const TapePlan history = request.profile.plan_history(shape, options, cells);
  const internal::CheckedSize one =
      history.payload(RegionRole::kv) + history.payload(RegionRole::window);
  return (one * cells.streams).value_or_throw("the size of the KV cache");
}

/// Returns a shape without layers if the file states too little for one: this is not an error here,
/// but a warning of the shape.
ModelShape try_shape(const std::filesystem::path& path, const Metadata& config) {
  try {
    return internal::config_shape(path.string(), config);
  } catch (const FormatError& error) {
    ModelShape shape;
    shape.warnings.emplace_back(error.message());
    return shape;
  }
}

/// The warnings of the shape, and what replaces the cache of layers that cannot be read.
std::vector<std::string> warnings_of(const ModelShape& shape, bool has_cache) {
  std::vector<std::string> warnings = shape.warnings;
  if (!shape.layers.empty()) return warnings;
  warnings.emplace_back(
      has_cache ? "the layers cannot be read: the cache is that of equal layers with full attention"
                : "the layers cannot be read: 2 GB are assumed for the cache");
  return warnings;
}

double params_billions_of(const std::filesystem::path& path, const ModelShape& shape,
                          const QuantizationRequest& request) {
  if (request.params_billions) return *request.params_billions;
  const auto count = shape.parameter_count();
  if (!count) {
    throw InvalidArgument({.argument = "QuantizationRequest::params_billions"},
                          path.string() + " does not determine how many parameters the model has",
                          "set params_billions");
  }
  return static_cast<double>(*count) / 1e9;
}

}  // namespace

std::string_view label(Quantization quantization) noexcept {
  return kLabels[static_cast<std::size_t>(quantization)];
}

QuantizationAdvice recommend_quantization(double params_billions, std::uint64_t available_gb,
                                          QuantizationHardware hardware,
                                          std::optional<std::uint64_t> kv_cache_headroom_bytes) {
  // Written so that NaN is rejected, too.
  if (!(params_billions > 0 && params_billions <= kMostBillions)) {
    throw InvalidArgument(
        {.argument = "params_billions"},
        "a model cannot have " + std::to_string(params_billions) + " billion parameters",
        "use a positive number of at most 10^9");
  }
  const std::uint64_t headroom = kv_cache_headroom_bytes
                                     ? internal::parts(*kv_cache_headroom_bytes, 1_GiB)
                                     : kDefaultHeadroomGb;
  const auto needed = [&](Quantization of) {
    const double weights = kBytesOfWeight[static_cast<std::size_t>(of)] * params_billions;
    return static_cast<std::uint64_t>(std::ceil(weights)) + headroom;
  };
  const auto advise = [&](Quantization of, const std::string& why) {
    return QuantizationAdvice{of,
                              why + ": " + std::string(label(of)) + " needs " +
                                  std::to_string(needed(of)) + " GB of the available " +
                                  std::to_string(available_gb) + " GB",
                              needed(of)};
  };
  const bool fast_int8 = hardware.fast_int8;
  const Quantization first = fast_int8 ? Quantization::int8 : Quantization::fp16;
  if (needed(first) <= available_gb) {
    return advise(first, fast_int8 ? "INT8 is faster than FP16 here and fits" : "FP16 fits");
  }
  if (needed(Quantization::int4) <= available_gb) {
    return advise(Quantization::int4, std::string(label(first)) + " does not fit, but INT4 does");
  }
  return advise(Quantization::int4, "memory is constrained, and not even INT4 fits");
}

QuantizationReport advise_quantization(const std::filesystem::path& config,
                                       const QuantizationRequest& request) {
  if (request.context == 0) {
    throw InvalidArgument({.argument = "QuantizationRequest::context", .value = 0, .limit = 1},
                          "a context of 0 tokens caches nothing", "request at least 1 token");
  }
  const Metadata metadata = internal::read_json_config(config);
  const ModelShape shape = try_shape(config, metadata);
  const auto cache = shape.layers.empty() ? uniform_cache(metadata, request)
                                          : std::optional(cache_of(shape, request));
  const double billions = params_billions_of(config, shape, request);
  return {.advice = recommend_quantization(billions, request.available_gb, request.hardware, cache),
          .params_billions = billions,
          .kv_cache_bytes = cache,
          .warnings = warnings_of(shape, cache.has_value())};
}

}  // namespace tapedeck::inline TAPEDECK_ABI
