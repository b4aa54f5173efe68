/// @file
/// `recommend_quantization`: which weight type suits a model, the memory and the hardware.
///
/// A rule of thumb in whole GB; `fit` (fit/fit.hpp) decides from a model's own plan.
/// Source: mlxcel, pull request 65. Mended here: the cache of `advise_quantization` is that of the
/// model's own layers, so explicit head widths, windows, latent attention and hybrids count as what
/// they take; and impossible figures are errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/plan/profile.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

enum class Quantization : std::uint8_t { fp16, int8, int4 };

/// "fp16", "int8", "int4".
[[nodiscard]] std::string_view label(Quantization quantization) noexcept;

/// What of the hardware the choice depends on.
struct QuantizationHardware {
  bool fast_int8 = false;  ///< Computes INT8 faster than FP16.
};

struct QuantizationAdvice {
  Quantization quantization = Quantization::fp16;
  /// In one sentence. Contains "constrained" where not even INT4 fits.
  std::string reason{};
  std::uint64_t needed_gb = 0;  ///< Weights of that type, and headroom.
};

/// Recommends a type. needs: fp16 = ⌈2·B⌉ + h, int8 = ⌈B⌉ + h, int4 = ⌈B/2⌉ + h, where the headroom
/// h is 2, or the given bytes in whole GiB, rounded up.
///
/// With fast INT8: INT8 where it fits, else INT4. Otherwise FP16 where it fits, else INT4. Also
/// where INT4 does not fit it is the answer, with the reason "constrained".
/// Thread-safety: a pure function.
/// @param params_billions  B: parameters / 10^9.
/// @param available_gb     whole GB.
/// @throws InvalidArgument for a count that is not positive, not finite, or beyond any machine.
/// @code{.cpp}
/// using namespace tapedeck;
/// assert(recommend_quantization(8, 24, {}, 1_GiB).quantization == Quantization::fp16);
/// assert(recommend_quantization(8, 24, {}, 16_GiB).quantization == Quantization::int4);
/// assert(recommend_quantization(7, 32, {.fast_int8 = true}).quantization == Quantization::int8);
/// @endcode
[[nodiscard]] QuantizationAdvice recommend_quantization(
    double params_billions, std::uint64_t available_gb, QuantizationHardware hardware,
    std::optional<std::uint64_t> kv_cache_headroom_bytes = {});

/// What `advise_quantization` is asked.
struct QuantizationRequest {
  std::uint64_t available_gb = 0;  ///< Whole GB.
  QuantizationHardware hardware{};
  std::uint64_t context = 8192;        ///< Tokens of a sequence.
  std::uint64_t batch = 1;             ///< Sequences.
  bool int8_kv = false;                ///< One byte a cached element; otherwise two.
  Profile profile = native_profile();  ///< Whose cache is planned.
  /// Where the config.json does not tell the shapes of all tensors.
  std::optional<double> params_billions{};
};

struct QuantizationReport {
  QuantizationAdvice advice{};
  double params_billions = 0;
  /// What the headroom was computed from; nothing where the config lacks the fields, then the
  /// headroom is 2 GB.
  std::optional<std::uint64_t> kv_cache_bytes{};
};

/// Reads a Hugging Face config.json and recommends a type, with the KV cache of the context asked
/// for as headroom: that of the model's own layers where its architecture can be read, else that of
/// num_hidden_layers layers of num_key_value_heads heads of head_dim (hidden_size /
/// num_attention_heads where that is not stated).
/// @throws SystemError; FormatError; InvalidArgument where neither the file nor the request tells
/// the parameter count, or a figure makes no sense.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const QuantizationReport report = advise_quantization("config.json", {.available_gb = 24});
/// std::cout << label(report.advice.quantization) << ": " << report.advice.reason << '\n';
/// @endcode
[[nodiscard]] QuantizationReport advise_quantization(const std::filesystem::path& config,
                                                     const QuantizationRequest& request);

}  // namespace tapedeck::inline TAPEDECK_ABI
