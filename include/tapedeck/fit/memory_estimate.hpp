/// @file
/// `estimate_memory`: roughly what it takes to run a class of models, before a file is chosen.
///
/// A closed form, deliberately a little pessimistic; `make_plan` (plan/plan.hpp) is exact for a
/// model at hand. GB are 10^9 bytes here, because the formula is defined in them.
/// Source: the memory maths of a "can my computer run it" tool (a Hugging Face Space).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Models of about one size, with the figures of a real one.
struct ModelClass {
  std::string_view name;   ///< "8B"
  std::string_view model;  ///< Whose figures these are: "Llama 3.1 8B".
  double billions = 0;     ///< Parameters / 10^9.
  std::uint64_t n_layers = 0;
  std::uint64_t hidden = 0;
};

/// How a model's weights are stored.
struct QuantTier {
  std::string_view name;      ///< "q4_k"
  double gb_per_billion = 0;  ///< GB per 10^9 weights: bytes of a weight.
};

/// What a model is used for, and by how much more memory that takes.
struct UseCase {
  std::string_view name;      ///< "rag"
  std::string_view describe;  ///< What the factor stands for.
  double job_overhead_factor = 1.0;
};

/// Bytes of a weight of this type, exact: 4.5 bits are 0.5625.
[[nodiscard]] constexpr double gb_per_billion(DType type) noexcept {
  return static_cast<double>(traits(type).block_bytes) / traits(type).block_elements;
}

/// The catalogue. Classes from the smallest, tiers from the largest, use cases from the lightest.
[[nodiscard]] std::span<const ModelClass> model_classes() noexcept;
[[nodiscard]] std::span<const QuantTier> quant_tiers() noexcept;
[[nodiscard]] std::span<const UseCase> use_cases() noexcept;

/// An entry of the catalogue by its name.
/// @throws InvalidArgument for an unknown one; the message lists the known ones.
[[nodiscard]] const ModelClass& model_class(std::string_view name);
[[nodiscard]] const QuantTier& quant_tier(std::string_view name);
[[nodiscard]] const UseCase& use_case(std::string_view name);

/// Each in GB, rounded to 2 decimals; the total is the rounded sum of the rounded parts.
struct MemoryEstimate {
  double weights_gb = 0;
  double kv_cache_gb = 0;
  double overhead_gb = 0;
  std::uint64_t context_tokens = 0;
  double total_gb = 0;
};

/// Estimates what a class of models needs. Thread-safety: a pure function.
///
///     weights  = billions · gb_per_billion
///     kv_cache = 2 · n_layers · hidden · context_tokens · 2 bytes · 0.30 / 10^9
///     overhead = (0.8 + 0.10 · weights) · job_overhead_factor
///     overhead = 0.8 + weights · (job_overhead_factor − 1)        where the factor is 2 or more
///
/// 0.30 is a conservative factor for grouped-query attention; a factor of 2 or more is a job that
/// trains. A part is rounded as its decimal digits say, exact ties to the even digit.
/// @throws InvalidArgument for a figure that is negative, not finite, or overflows.
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
