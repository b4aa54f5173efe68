// SPDX-License-Identifier: Apache-2.0
/// @file
/// `recommend_quantization`: which weight type suits a model, the memory and the hardware.
///
/// This is a rule of thumb in whole GB; `fit` (fit/fit.hpp) decides from a model's own plan.
/// Source: mlxcel, pull request 65, with two corrections: `advise_quantization` computes the cache
/// from the model's own layers, so explicit head widths, windows, latent attention and hybrid
/// models are counted correctly; and impossible values are errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/plan/profile.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

enum class Quantization : std::uint8_t { fp16, int8, int4 };

/// "fp16", "int8", "int4".
[[nodiscard]] std::string_view label(Quantization quantization) noexcept;

/// Properties of the hardware that the choice depends on.
struct QuantizationHardware {
  bool fast_int8 = false;  ///< INT8 is faster than FP16.
};

struct QuantizationAdvice {
  Quantization quantization = Quantization::fp16;
  /// One sentence. It contains "constrained" if not even INT4 fits.
  std::string reason{};
  std::uint64_t needed_gb = 0;  ///< Memory for weights of this type, including the headroom.
};

/// Recommends a type for the weights. The types need, in GB: fp16 = ⌈2·B⌉ + h, int8 = ⌈B⌉ + h,
/// int4 = ⌈B/2⌉ + h. The headroom h is 2, or `kv_cache_headroom_bytes` rounded up to whole GiB.
///
/// The first choice is INT8 if it is fast, otherwise FP16. If that does not fit, the result is
/// INT4, with the reason "constrained" if not even INT4 fits.
/// Thread-safety: a pure function.
/// @param params_billions  B: parameters / 10^9.
/// @param available_gb     whole GB.
/// @throws InvalidArgument for a `params_billions` that is not positive, not finite, or greater
/// than 10^9.
/// @code{.cpp}
/// using namespace tapedeck;
/// assert(recommend_quantization(8, 24, {}, 1_GiB).quantization == Quantization::fp16);
/// assert(recommend_quantization(8, 24, {}, 16_GiB).quantization == Quantization::int4);
/// assert(recommend_quantization(7, 32, {.fast_int8 = true}).quantization == Quantization::int8);
/// @endcode
[[nodiscard]] QuantizationAdvice recommend_quantization(
    double params_billions, std::uint64_t available_gb, QuantizationHardware hardware,
    std::optional<std::uint64_t> kv_cache_headroom_bytes = {});

/// The input of `advise_quantization`.
struct QuantizationRequest {
  std::uint64_t available_gb = 0;  ///< Whole GB.
  QuantizationHardware hardware{};
  std::uint64_t context = 8192;        ///< Tokens per sequence.
  std::uint64_t batch = 1;             ///< Number of sequences.
  bool int8_kv = false;                ///< One byte per cached element; otherwise two.
  Profile profile = native_profile();  ///< The engine whose cache is planned.
  /// Overrides the count from the config.json. Required if that lacks the shapes of some tensors.
  std::optional<double> params_billions{};
};

/// The result of `advise_quantization`.
struct QuantizationReport {
  QuantizationAdvice advice{};
  double params_billions = 0;
  /// The cache that the headroom is for. `nullopt` if the config lacks the fields; the headroom is
  /// then 2 GB.
  std::optional<std::uint64_t> kv_cache_bytes{};
  /// One for each assumption: those of the model's shape, and how the cache was computed if the
  /// layers cannot be read.
  std::vector<std::string> warnings{};
};

/// Reads a Hugging Face config.json and recommends a type for the weights. The headroom is the KV
/// cache of the requested context. If the architecture can be read, the cache is that of the
/// model's own layers. Otherwise it is that of num_hidden_layers layers with num_key_value_heads
/// heads of width head_dim (hidden_size / num_attention_heads if head_dim is not stated).
/// @throws SystemError; FormatError; InvalidArgument if neither the file nor the request states the
/// parameter count, or if a value is invalid.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const QuantizationReport report = advise_quantization("config.json", {.available_gb = 24});
/// std::cout << label(report.advice.quantization) << ": " << report.advice.reason << '\n';
/// @endcode
[[nodiscard]] QuantizationReport advise_quantization(const std::filesystem::path& config,
                                                     const QuantizationRequest& request);

}  // namespace tapedeck::inline TAPEDECK_ABI
