// SPDX-License-Identifier: Apache-2.0
/// @file
/// `kv_cache_bytes`: the closed formula for a KV cache whose layers are all equal.
///
/// `make_plan` (plan/plan.hpp) is exact also for models with windows, with latent or linear
/// attention, or with layers that differ. Source: mlxcel, pull request 65.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Caches grow by this number of tokens.
inline constexpr std::uint64_t kKvCacheStep = 256;

/// The dimensions of a KV cache with equal layers. Thread-safety: a value.
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
  std::uint64_t ctx_len = 0;  ///< Tokens per sequence.
  std::uint64_t batch = 1;    ///< Number of sequences.
  bool int8_kv = false;       ///< One byte per element; otherwise two (FP16, BF16).

  friend bool operator==(const KvCacheParams&, const KvCacheParams&) = default;
};

/// Returns the size of the cache in bytes:
/// num_layers · 2 · num_kv_heads · head_dim · elem_bytes · round_up(ctx_len, 256) · batch.
/// It is 0 if `ctx_len` is 0.
/// @throws InvalidArgument if any other argument is 0, or if the result does not fit in 64 bits.
[[nodiscard]] std::uint64_t kv_cache_bytes(std::uint64_t num_layers, std::uint64_t num_kv_heads,
                                           std::uint64_t head_dim, std::uint64_t elem_bytes,
                                           std::uint64_t ctx_len, std::uint64_t batch = 1);

/// Returns the size of the cache in bytes. @throws InvalidArgument as the other overload.
[[nodiscard]] std::uint64_t kv_cache_bytes(const KvCacheParams& params);

}  // namespace tapedeck::inline TAPEDECK_ABI
