// SPDX-License-Identifier: Apache-2.0
/// @file
/// `estimate_memory`: roughly how much memory a class of models needs, before a file is chosen.
///
/// The closed formula is deliberately a little pessimistic; `make_plan` (plan/plan.hpp) is exact
/// for a given model. A GB is 10^9 bytes here, because the formula is defined in this unit.
/// Source: the memory formulas of a "can my computer run it" tool (a Hugging Face Space).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A class of models of similar size, with the dimensions of a real model.
struct ModelClass {
  std::string_view name;   ///< "8B"
  std::string_view model;  ///< The model that the dimensions are from: "Llama 3.1 8B".
  double billions = 0;     ///< Parameters / 10^9.
  std::uint64_t n_layers = 0;
  std::uint64_t hidden = 0;
};

/// How a model's weights are stored.
struct QuantTier {
  std::string_view name;      ///< "q4_k"
  double gb_per_billion = 0;  ///< GB per 10^9 weights, which equals bytes per weight.
};

/// A use of a model, and the factor by which it increases the overhead.
struct UseCase {
  std::string_view name;      ///< "rag"
  std::string_view describe;  ///< What the factor accounts for.
  double job_overhead_factor = 1.0;
};

/// Returns the exact number of bytes per weight of this type: 0.5625 for 4.5 bits.
[[nodiscard]] constexpr double gb_per_billion(DType type) noexcept {
  return static_cast<double>(traits(type).block_bytes) / traits(type).block_elements;
}

/// All model classes of the catalog, smallest first.
[[nodiscard]] std::span<const ModelClass> model_classes() noexcept;
/// All quantization tiers of the catalog, largest first.
[[nodiscard]] std::span<const QuantTier> quant_tiers() noexcept;
/// All use cases of the catalog, lightest first.
[[nodiscard]] std::span<const UseCase> use_cases() noexcept;

/// The class with this name. @throws InvalidArgument for an unknown name; it lists the known ones.
[[nodiscard]] const ModelClass& model_class(std::string_view name);
/// The tier with this name. @throws InvalidArgument for an unknown name; it lists the known ones.
[[nodiscard]] const QuantTier& quant_tier(std::string_view name);
/// The use case with this name. @throws InvalidArgument for an unknown name; it lists the known
/// ones.
[[nodiscard]] const UseCase& use_case(std::string_view name);

/// The result of `estimate_memory`, in GB, each value rounded to 2 decimals. The total is the
/// rounded sum of the rounded parts.
struct MemoryEstimate {
  double weights_gb = 0;
  double kv_cache_gb = 0;
  double overhead_gb = 0;
  std::uint64_t context_tokens = 0;
  double total_gb = 0;
};

/// Estimates how much memory a class of models needs. Thread-safety: a pure function.
///
///     weights  = billions · gb_per_billion
///     kv_cache = 2 · n_layers · hidden · context_tokens · 2 bytes · 0.30 / 10^9
///     overhead = (0.8 + 0.10 · weights) · job_overhead_factor      if the factor is less than 2
///     overhead = 0.8 + weights · (job_overhead_factor − 1)         if the factor is 2 or more
///
/// 0.30 is a conservative factor for grouped-query attention. A `job_overhead_factor` of 2 or more
/// means training. Parts are rounded by their exact decimal digits, ties to the even digit.
/// @throws InvalidArgument for a value that is negative, not finite, or overflows.
/// @code{.cpp}
/// using namespace tapedeck;
/// const MemoryEstimate chat = estimate_memory(model_class("8B"), quant_tier("q4_0"));
/// assert(chat.weights_gb == 4.52 && chat.kv_cache_gb == 0.64 && chat.overhead_gb == 1.25);
/// assert(chat.total_gb == 6.41);
/// @endcode
[[nodiscard]] MemoryEstimate estimate_memory(const ModelClass& model, const QuantTier& quant,
                                             std::uint64_t context_tokens = 4096,
                                             double job_overhead_factor = 1.0);

}  // namespace tapedeck::inline TAPEDECK_ABI
