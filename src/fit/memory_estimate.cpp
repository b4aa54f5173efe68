// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/memory_estimate.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <system_error>

#include "plan/sizes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

// `billions` is the sum over the published checkpoint: a tied table once, and all experts.
constexpr std::array kModelClasses = {
    ModelClass{"0.5B", "Qwen2.5 0.5B", 0.494032768, 24, 896},
    ModelClass{"1B", "Llama 3.2 1B", 1.2358144, 16, 2048},
    ModelClass{"2B", "Gemma 2 2B", 2.614341888, 26, 2304},
    ModelClass{"4B", "Gemma 3 4B (text)", 3.880263168, 34, 2560},
    ModelClass{"7B", "Mistral 7B v0.1", 7.241732096, 32, 4096},
    ModelClass{"8B", "Llama 3.1 8B", 8.030261248, 32, 4096},
    ModelClass{"20B", "gpt-oss 20B (MoE)", 20.914757184, 24, 2880},
    ModelClass{"24B", "Mistral Small 24B", 23.5724032, 40, 5120},
    ModelClass{"30B-A3B", "Qwen3 30B-A3B (MoE)", 30.532122624, 48, 2048},
    ModelClass{"32B", "Qwen3 32B", 32.762123264, 64, 5120},
    ModelClass{"40B", "Falcon 40B", 41.303293952, 60, 8192},
    ModelClass{"8x7B", "Mixtral 8x7B v0.1 (MoE)", 46.702792704, 32, 4096},
    ModelClass{"70B", "Llama 3.1 70B", 70.553706496, 80, 8192},
    ModelClass{"230B-A10B", "MiniMax M2.5 (MoE)", 228.689764864, 62, 3072},
    ModelClass{"405B", "Llama 3.1 405B", 405.8533888, 126, 16384},
    ModelClass{"671B", "DeepSeek V3 (MoE)", 671.0264192, 61, 7168},
    ModelClass{"1T", "Kimi K2 (MoE)", 1026.408232448, 61, 7168},
};

constexpr QuantTier tier(DType type) { return {to_string(type), gb_per_billion(type)}; }

constexpr std::array kQuantTiers = {
    tier(DType::f32),   tier(DType::bf16),    tier(DType::f16),   tier(DType::q8_0),
    tier(DType::q6_k),  tier(DType::q5_1),    tier(DType::q5_k),  tier(DType::q5_0),
    tier(DType::q4_1),  tier(DType::q4_k),    tier(DType::q4_0),  tier(DType::nvfp4),
    tier(DType::mxfp4), tier(DType::iq4_xs),  tier(DType::q3_k),  tier(DType::iq3_s),
    tier(DType::q2_k),  tier(DType::iq2_xxs), tier(DType::iq1_s),
};

// Full fine-tuning with 16-bit weights (2 bytes) takes 8 times their size: gradients 2, f32 master
// weights 4, and two moments of Adam 8, which is 16 with the weights. The other factors are
// experience.
constexpr std::array kUseCases = {
    UseCase{"chat", "one conversation at a time", 1.0},
    UseCase{"rag", "an embedding model, and retrieved passages in addition to the prompt", 1.25},
    UseCase{"agents", "several prompts and tools that run at the same time", 1.5},
    UseCase{"lora", "adapters, their optimizer, and activations kept for the backward pass", 2.0},
    UseCase{"full-fine-tuning", "gradients, f32 master weights, and the two moments of Adam", 8.0},
};

template <class Entries>
const auto& find_entry(const Entries& entries, std::string_view name, const char* what) {
  const auto* at = std::ranges::find(entries, name, &Entries::value_type::name);
  if (at != entries.end()) return *at;
  std::string known;
  for (const auto& entry : entries) known += (known.empty() ? "" : ", ") + std::string(entry.name);
  throw InvalidArgument({.argument = what},
                        "unknown " + std::string(what) + " '" + std::string(name) + "'",
                        "use one of " + known);
}

constexpr double kBytesOfGb = 1e9;
constexpr double kGqaFactor = 0.30;
constexpr double kBaseOverheadGb = 0.8;
constexpr double kWeightsOverhead = 0.10;
constexpr double kTrainingFactor = 2.0;

// Rounds by decimal digits, because figure × 100 is already rounded: the double 1.005 is smaller.
double round_to_cents(double figure, const char* what) {
  std::array<char, 512> digits{};  // the largest double has 309 digits before the point
  const auto [end, error] =
      std::to_chars(digits.begin(), digits.end(), internal::require_finite(what, figure),
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

std::span<const ModelClass> model_classes() noexcept { return kModelClasses; }
std::span<const QuantTier> quant_tiers() noexcept { return kQuantTiers; }
std::span<const UseCase> use_cases() noexcept { return kUseCases; }

const ModelClass& model_class(std::string_view name) {
  return find_entry(kModelClasses, name, "model class");
}
const QuantTier& quant_tier(std::string_view name) {
  return find_entry(kQuantTiers, name, "quantization tier");
}
const UseCase& use_case(std::string_view name) { return find_entry(kUseCases, name, "use case"); }

MemoryEstimate estimate_memory(const ModelClass& model, const QuantTier& quant,
                               std::uint64_t context_tokens, double job_overhead_factor) {
  const double weights =
      internal::require_finite("ModelClass::billions", model.billions) *
      internal::require_finite("QuantTier::gb_per_billion", quant.gb_per_billion);
  const double factor = internal::require_finite("job_overhead_factor", job_overhead_factor);
  MemoryEstimate estimate = {
      .weights_gb = round_to_cents(weights, "weights"),
      .kv_cache_gb = round_to_cents(kv_cache_gb(model, context_tokens), "the KV cache"),
      .overhead_gb = round_to_cents(overhead_gb(weights, factor), "overhead"),
      .context_tokens = context_tokens};
  estimate.total_gb =
      round_to_cents(estimate.weights_gb + estimate.kv_cache_gb + estimate.overhead_gb, "total");
  return estimate;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
