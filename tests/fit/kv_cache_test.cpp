// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/kv_cache.hpp"

#include <gtest/gtest.h>

#include <cstdint>

#include "base/most.hpp"
#include "plan/refused.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

constexpr KvCacheParams kEightB = {
    .num_layers = 32, .num_kv_heads = 8, .head_dim = 128, .ctx_len = 8192};

TEST(KvCache, UpstreamsCases) {
  EXPECT_EQ(kv_cache_bytes(32, 32, 128, 2, 8192, 1), 4_GiB);
  EXPECT_EQ(kv_cache_bytes(32, 8, 128, 2, 8192, 1), 1_GiB);
  EXPECT_EQ(kv_cache_bytes(32, 8, 128, 2, 131'072, 1), 16_GiB);
  EXPECT_EQ(kv_cache_bytes(32, 8, 128, 2, 0), 0U);  // unlike upstream, zero tokens take nothing
  const auto tokens = [](std::uint64_t ctx_len) { return kv_cache_bytes(1, 1, 1, 1, ctx_len) / 2; };
  EXPECT_EQ(tokens(1), 256U);
  EXPECT_EQ(tokens(255), 256U);
  EXPECT_EQ(tokens(256), 256U);
  EXPECT_EQ(tokens(257), 512U);
}

TEST(KvCache, TheWrapperTakesTheParams) {
  KvCacheParams params = kEightB;
  EXPECT_EQ(kv_cache_bytes(params), 1_GiB);
  params.int8_kv = true;
  EXPECT_EQ(kv_cache_bytes(params), 1_GiB / 2);
  params = kEightB;
  params.batch = 3;
  EXPECT_EQ(kv_cache_bytes(params), 3_GiB);
  params.ctx_len = 1;
  EXPECT_EQ(kv_cache_bytes(params), 3_GiB / 32);
}

// Upstream multiplies any values.

TEST(KvCacheMended, FiguresOfZeroAreErrors) {
  using Figure = std::uint64_t;
  const auto refused_figures = [](Figure layers, Figure kv_heads, Figure head_dim,
                                  Figure elem_bytes, Figure batch) {
    return refused(
        [&] { return kv_cache_bytes(layers, kv_heads, head_dim, elem_bytes, 8192, batch); });
  };
  EXPECT_EQ(refused_figures(0, 8, 128, 2, 1), (Refused{"num_layers", 0, 1}));
  EXPECT_EQ(refused_figures(32, 0, 128, 2, 1), (Refused{"num_kv_heads", 0, 1}));
  EXPECT_EQ(refused_figures(32, 8, 0, 2, 1), (Refused{"head_dim", 0, 1}));
  EXPECT_EQ(refused_figures(32, 8, 128, 0, 1), (Refused{"elem_bytes", 0, 1}));
  EXPECT_EQ(refused_figures(32, 8, 128, 2, 0), (Refused{"batch", 0, 1}));
}

TEST(KvCacheMended, OverflowIsAnError) {
  constexpr std::uint64_t kLargest = kMost / 2 / kKvCacheStep;
  EXPECT_EQ(kv_cache_bytes(kLargest, 1, 1, 1, 256), kLargest * 2 * 256);
  const std::uint64_t cases[][6] = {
      {kLargest + 1, 1, 1, 1, 256, 1}, {1, kMost, 1, 1, 256, 1}, {1, 1, kMost, 1, 256, 1},
      {1, 1, 1, kMost, 256, 1},        {1, 1, 1, 1, 256, kMost}, {1, 1, 1, 1, kMost, 1},
      {1, 1, 1, 1, kMost - 254, 1}};  // rounding up must not wrap around to a context of 0
  for (const auto& [layers, kv_heads, head_dim, elem_bytes, context, batch] : cases) {
    EXPECT_THROW(
        static_cast<void>(kv_cache_bytes(layers, kv_heads, head_dim, elem_bytes, context, batch)),
        InvalidArgument);
  }
}

}  // namespace
}  // namespace tapedeck::tests
