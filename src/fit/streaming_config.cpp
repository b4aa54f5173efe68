// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/streaming_config.hpp"

#include <string>

#include "base/checked_sizes.hpp"
#include "base/require.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

constexpr std::uint64_t kFp32 = 4;

/// Width of K, which is also the width of V.
internal::CheckedSize kv_width(const StreamingConfig& config) {
  internal::require_divides("num_heads", config.num_heads, "hidden_dim", config.hidden_dim);
  internal::require_divides("num_kv_heads", config.num_kv_heads, "num_heads", config.num_heads);
  return internal::CheckedSize(config.num_kv_heads) * (config.hidden_dim / config.num_heads);
}

/// Number of parameters in a layer's matrices: Q, K and V; the output projection; gate, up and
/// down.
internal::CheckedSize layer_matrices(const StreamingConfig& config) {
  const internal::CheckedSize h = config.hidden_dim;
  return h * (h + 2 * kv_width(config)) + h * h + 3 * h * config.intermediate_dim;
}

internal::CheckedSize layer_size(const StreamingConfig& config) {
  return (layer_matrices(config) + 2 * internal::CheckedSize(config.hidden_dim)) * kFp32;
}

internal::CheckedSize cache_size(const StreamingConfig& config) {
  return 2 * internal::CheckedSize(config.num_layers) * config.max_seq_len * kv_width(config) *
         kFp32;
}

internal::CheckedSize with_layers(const StreamingConfig& config, std::uint64_t layers) {
  const internal::CheckedSize h = config.hidden_dim;
  const internal::CheckedSize tables = config.tied_embeddings ? 1U : 2U;
  return tables * h * config.vocab_size * kFp32 + h * kFp32 + layers * layer_size(config) +
         cache_size(config);
}

std::string mb_text(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MB"; }

std::string vram_text(const InsufficientVram::Figures& figures) {
  return "Insufficient VRAM: the full cache needs " + mb_text(figures.full_cache) +
         " and layer streaming " + mb_text(figures.streaming) + ", but only " +
         mb_text(figures.available) + " of " + mb_text(figures.total) +
         " are available. Layer streaming";
}

}  // namespace

std::uint64_t StreamingConfig::layer_bytes() const {
  return layer_size(*this).value_or_throw("the size of a layer");
}

std::uint64_t StreamingConfig::kv_cache_bytes() const {
  return cache_size(*this).value_or_throw("the size of the KV cache");
}

std::uint64_t StreamingConfig::full_cache_bytes() const {
  return with_layers(*this, num_layers).value_or_throw("the size of the full cache");
}

std::uint64_t StreamingConfig::streaming_bytes() const {
  internal::require_one("layer_slots", layer_slots);
  return with_layers(*this, layer_slots).value_or_throw("the size of layer streaming");
}

std::uint64_t StreamingConfig::prefill_cache_bytes(bool fp8) const {
  const internal::CheckedSize parameters =
      layer_matrices(*this) * num_layers + internal::CheckedSize(hidden_dim) * vocab_size;
  return (parameters * (fp8 ? 1U : 2U)).value_or_throw("the size of the prefill cache");
}

std::string_view description(StreamingMode mode) noexcept {
  return mode == StreamingMode::full_cache ? "Full Cache (all layers pre-cached on GPU)"
                                           : "Layer Streaming (weights loaded per-layer)";
}

bool should_use_streaming(std::uint64_t free_bytes, const StreamingConfig& config) {
  const std::uint64_t usable = usable_vram(free_bytes);
  return config.full_cache_bytes() > usable && config.streaming_bytes() <= usable;
}

InsufficientVram::InsufficientVram(const Figures& figures)
    : OutOfMemory({.purpose = vram_text(figures),
                   .limit = "90 % of the free device memory",
                   .needed = figures.streaming,
                   .available = figures.available},
                  "use a quantized format (Q4_K, Q8_0), run on the CPU, or free GPU memory"),
      figures_(figures) {}

StreamingMode check_vram_sufficient(std::uint64_t free_bytes, std::uint64_t total_bytes,
                                    const StreamingConfig& config) {
  const InsufficientVram::Figures figures = {.full_cache = config.full_cache_bytes(),
                                             .streaming = config.streaming_bytes(),
                                             .available = usable_vram(free_bytes),
                                             .total = total_bytes};
  if (figures.full_cache <= figures.available) return StreamingMode::full_cache;
  if (figures.streaming <= figures.available) return StreamingMode::layer_streaming;
  throw InsufficientVram(figures);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
