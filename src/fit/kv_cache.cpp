// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/kv_cache.hpp"

#include "base/require.hpp"
#include "plan/sizes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

std::uint64_t kv_cache_bytes(std::uint64_t num_layers, std::uint64_t num_kv_heads,
                             std::uint64_t head_dim, std::uint64_t elem_bytes,
                             std::uint64_t ctx_len, std::uint64_t batch) {
  internal::require_one("num_layers", num_layers);
  internal::require_one("num_kv_heads", num_kv_heads);
  internal::require_one("head_dim", head_dim);
  internal::require_one("elem_bytes", elem_bytes);
  internal::require_one("batch", batch);
  const internal::CheckedSize tokens =
      internal::CheckedSize(internal::parts(ctx_len, kKvCacheStep)) * kKvCacheStep;
  const internal::CheckedSize bytes =
      internal::CheckedSize(num_layers) * 2 * num_kv_heads * head_dim * elem_bytes * tokens * batch;
  return bytes.value_or_throw("the size of the KV cache");
}

std::uint64_t kv_cache_bytes(const KvCacheParams& params) {
  return kv_cache_bytes(params.num_layers, params.num_kv_heads, params.head_dim,
                        params.int8_kv ? 1 : 2, params.ctx_len, params.batch);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
