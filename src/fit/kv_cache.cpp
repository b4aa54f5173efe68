#include "tapedeck/fit/kv_cache.hpp"

#include "base/checked_sizes.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

std::uint64_t kv_cache_bytes(std::uint64_t num_layers, std::uint64_t num_kv_heads,
                             std::uint64_t head_dim, std::uint64_t elem_bytes,
                             std::uint64_t ctx_len, std::uint64_t batch) {
  if (num_layers == 0) throw InvalidArgument("num_layers is 0");
  if (num_kv_heads == 0) throw InvalidArgument("num_kv_heads is 0");
  if (head_dim == 0) throw InvalidArgument("head_dim is 0");
  if (elem_bytes == 0) throw InvalidArgument("elem_bytes is 0");
  if (batch == 0) throw InvalidArgument("batch is 0");
  const std::uint64_t steps = ctx_len / kKvCacheStep + (ctx_len % kKvCacheStep == 0 ? 0U : 1U);
  const internal::CheckedSize bytes = internal::CheckedSize(num_layers) * 2 * num_kv_heads *
                                      head_dim * elem_bytes *
                                      (internal::CheckedSize(steps) * kKvCacheStep) * batch;
  return bytes.value_or_throw("the size of the KV cache");
}

std::uint64_t kv_cache_bytes(const KvCacheParams& params) {
  return kv_cache_bytes(params.num_layers, params.num_kv_heads, params.head_dim,
                        params.int8_kv ? 1 : 2, params.ctx_len, params.batch);
}

TAPEDECK_ABI_END
}  // namespace tapedeck
