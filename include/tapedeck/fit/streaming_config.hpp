// SPDX-License-Identifier: Apache-2.0
/// @file
/// `StreamingConfig`: whether a dense transformer fits in device memory as a whole, or layer by
/// layer.
///
/// This closed formula for fp32 gives a quick decision; `fit` (fit/fit.hpp) decides from a model's
/// own plan. Source: the StreamingConfig of realizar, issue GH-201, with three corrections: head
/// counts that are 0 or do not divide evenly are errors; values that overflow are errors; an untied
/// embedding table and a second layer buffer can be counted.
#pragma once

#include <cstdint>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The dimensions of a dense transformer that its device memory depends on. Every member function
/// returns bytes. It throws `InvalidArgument` if `num_heads` is 0 or does not divide `hidden_dim`,
/// if `num_kv_heads` is 0 or does not divide `num_heads`, or if the result does not fit in 64 bits.
/// In the formulas h = hidden_dim, L = num_layers, V = vocab_size, f = intermediate_dim,
/// S = max_seq_len, and kv = num_kv_heads · h / num_heads. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// const StreamingConfig qwen2 = {.hidden_dim = 1536, .num_layers = 28, .num_heads = 12,
///                                .num_kv_heads = 2, .vocab_size = 151'936,
///                                .intermediate_dim = 8960, .max_seq_len = 2048};
/// assert(should_use_streaming(2_GiB, qwen2));
/// assert(check_vram_sufficient(12_GiB, 16_GiB, qwen2) == StreamingMode::full_cache);
/// @endcode
struct StreamingConfig {
  std::uint64_t hidden_dim = 0;
  std::uint64_t num_layers = 0;
  std::uint64_t num_heads = 0;
  std::uint64_t num_kv_heads = 0;
  std::uint64_t vocab_size = 0;
  std::uint64_t intermediate_dim = 0;
  std::uint64_t max_seq_len = 0;  ///< Tokens.

  /// True if the logits head is the embedding table. An untied model holds both.
  bool tied_embeddings = true;
  /// Layers on the device at the same time while streaming. With 2, one is copied while the other
  /// computes.
  std::uint64_t layer_slots = 1;

  /// (h·(h + 2·kv) + h·h + 3·h·f + 2·h) · 4
  [[nodiscard]] std::uint64_t layer_bytes() const;
  /// 2 · L · S · kv · 4
  [[nodiscard]] std::uint64_t kv_cache_bytes() const;
  /// h·V·4 + h·4 + L·layer_bytes() + kv_cache_bytes(), and another h·V·4 if untied.
  [[nodiscard]] std::uint64_t full_cache_bytes() const;
  /// h·V·4 + h·4 + layer_slots·layer_bytes() + kv_cache_bytes(), and another h·V·4 if untied.
  [[nodiscard]] std::uint64_t streaming_bytes() const;
  /// ((h·(h + 2·kv) + h·h + 3·h·f) · L + h·V) · (fp8 ? 1 : 2): a second copy of the weights in the
  /// type that a prefill computes in.
  [[nodiscard]] std::uint64_t prefill_cache_bytes(bool fp8) const;
};

enum class StreamingMode : std::uint8_t { full_cache, layer_streaming };

/// "Full Cache (all layers pre-cached on GPU)", "Layer Streaming (weights loaded per-layer)".
[[nodiscard]] std::string_view description(StreamingMode mode) noexcept;

/// The part of the free device memory that may be planned with: 90 %, rounded down.
[[nodiscard]] constexpr std::uint64_t usable_vram(std::uint64_t free_bytes) noexcept {
  return free_bytes / 10 * 9 + free_bytes % 10 * 9 / 10;
}

/// Returns true if the full cache does not fit in the usable memory but streaming does.
/// @throws InvalidArgument for an invalid `config`; see `StreamingConfig`.
[[nodiscard]] bool should_use_streaming(std::uint64_t free_bytes, const StreamingConfig& config);

/// Thrown if neither the full cache nor layer streaming fits. `needed` is what streaming needs,
/// `available` is the usable memory. The message states sizes in MB of 2^20 bytes, rounded down.
class InsufficientVram : public OutOfMemory {
 public:
  /// The sizes that were compared, in bytes.
  struct Figures {
    std::uint64_t full_cache;
    std::uint64_t streaming;
    std::uint64_t available;
    std::uint64_t total;
  };

  explicit InsufficientVram(const Figures& figures);

  [[nodiscard]] const Figures& figures() const noexcept { return figures_; }

 private:
  Figures figures_;
};

/// Returns the first mode that fits in the usable part of `free_bytes`.
/// @param total_bytes  the device's total memory; used only in the error message.
/// @throws InsufficientVram if neither mode fits; InvalidArgument for an invalid `config`.
[[nodiscard]] StreamingMode check_vram_sufficient(std::uint64_t free_bytes,
                                                  std::uint64_t total_bytes,
                                                  const StreamingConfig& config);

}  // namespace tapedeck::inline TAPEDECK_ABI
