/// @file
/// `kv_cache_bytes`: the closed form of a KV cache whose layers are all alike.
///
/// For models with windows, latent or linear attention, or layers that differ, `make_plan`
/// (plan/plan.hpp) is exact. Source: mlxcel, pull request 65.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Caches grow by this many tokens.
inline constexpr std::uint64_t kKvCacheStep = 256;

/// What a KV cache of equal layers depends on. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// const KvCacheParams llama3 = {.num_layers = 32, .num_kv_heads = 8, .head_dim = 128,
///                               .ctx_len = 8192};
/// assert(kv_cache_bytes(llama3) == 1_GiB);
/// @endcode
struct KvCacheParams {
  std::uint64_t num_layers = 0;
  std::uint64_t num_kv_heads = 0;
  std::uint64_t head_dim = 0;
  std::uint64_t ctx_len = 0;  ///< Tokens of a sequence.
  std::uint64_t batch = 1;    ///< Sequences.
  bool int8_kv = false;       ///< One byte an element; otherwise two (FP16, BF16).

  friend bool operator==(const KvCacheParams&, const KvCacheParams&) = default;
};

/// Bytes: num_layers · 2 · num_kv_heads · head_dim · elem_bytes · round_up(ctx_len, 256) · batch.
/// A context of 0 tokens takes none.
/// @throws InvalidArgument where any other figure is 0, or the result does not fit in 64 bits.
[[nodiscard]] std::uint64_t kv_cache_bytes(std::uint64_t num_layers, std::uint64_t num_kv_heads,
                                           std::uint64_t head_dim, std::uint64_t elem_bytes,
                                           std::uint64_t ctx_len, std::uint64_t batch = 1);

/// As above. @throws InvalidArgument
[[nodiscard]] std::uint64_t kv_cache_bytes(const KvCacheParams& params);

}  // namespace tapedeck::inline TAPEDECK_ABI
