#include "tapedeck/fit/kv_cache.hpp"

#include <gtest/gtest.h>

#include <concepts>
#include <cstdint>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

constexpr KvCacheParams kEightB = {
    .num_layers = 32, .num_kv_heads = 8, .head_dim = 128, .ctx_len = 8192};

// The upstream's cases.

TEST(KvCacheUpstream, ThirtyTwoKvHeadsAt8KAre4GiB) {
  EXPECT_EQ(kv_cache_bytes(32, 32, 128, 2, 8192, 1), 4_GiB);
}

TEST(KvCacheUpstream, EightKvHeadsAt8KAre1GiB) {
  EXPECT_EQ(kv_cache_bytes(32, 8, 128, 2, 8192, 1), 1_GiB);
}

TEST(KvCacheUpstream, EightKvHeadsAt128KAre16GiB) {
  EXPECT_EQ(kv_cache_bytes(32, 8, 128, 2, 131'072, 1), 16_GiB);
}

TEST(KvCacheUpstream, Int8IsExactlyHalfOfFp16) {
  KvCacheParams int8 = kEightB;
  int8.int8_kv = true;
  EXPECT_EQ(kv_cache_bytes(int8) * 2, kv_cache_bytes(kEightB));
}

TEST(KvCacheUpstream, ContextIsRoundedUpTo256) {
  const auto tokens = [](std::uint64_t ctx_len) { return kv_cache_bytes(1, 1, 1, 1, ctx_len) / 2; };
  EXPECT_EQ(tokens(1), 256U);
  EXPECT_EQ(tokens(255), 256U);
  EXPECT_EQ(tokens(256), 256U);
  EXPECT_EQ(tokens(257), 512U);
}

TEST(KvCacheUpstream, TheWrapperTakesTheParams) {
  EXPECT_EQ(kv_cache_bytes(kEightB), 1_GiB);
  KvCacheParams params = kEightB;
  params.batch = 3;
  EXPECT_EQ(kv_cache_bytes(params), 3_GiB);
  params.ctx_len = 1;
  EXPECT_EQ(kv_cache_bytes(params), 3_GiB / 32);
}

TEST(KvCache, ContextOfNoTokensTakesNothing) { EXPECT_EQ(kv_cache_bytes(32, 8, 128, 2, 0), 0U); }

// Upstream multiplies whatever comes.

TEST(KvCacheMended, FiguresOfZeroAreErrors) {
  const auto refused = [](std::same_as<int> auto... figures) {
    return thrown<InvalidArgument>(
               [&] { static_cast<void>(kv_cache_bytes(static_cast<std::uint64_t>(figures)...)); })
        .argument();
  };
  EXPECT_EQ(refused(0, 8, 128, 2, 8192, 1), "num_layers");
  EXPECT_EQ(refused(32, 0, 128, 2, 8192, 1), "num_kv_heads");
  EXPECT_EQ(refused(32, 8, 0, 2, 8192, 1), "head_dim");
  EXPECT_EQ(refused(32, 8, 128, 0, 8192, 1), "elem_bytes");
  EXPECT_EQ(refused(32, 8, 128, 2, 8192, 0), "batch");
}

TEST(KvCacheMended, OverflowIsAnError) {
  constexpr std::uint64_t kLargest = kMost / 2 / kKvCacheStep;
  EXPECT_EQ(kv_cache_bytes(kLargest, 1, 1, 1, 256), kLargest * 2 * 256);
  EXPECT_THROW(static_cast<void>(kv_cache_bytes(kLargest + 1, 1, 1, 1, 256)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(kv_cache_bytes(1, kMost, 1, 1, 256)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(kv_cache_bytes(1, 1, kMost, 1, 256)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(kv_cache_bytes(1, 1, 1, kMost, 256)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(kv_cache_bytes(1, 1, 1, 1, 256, kMost)), InvalidArgument);
  // Rounding up must not wrap round to a context of 0.
  EXPECT_THROW(static_cast<void>(kv_cache_bytes(1, 1, 1, 1, kMost)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(kv_cache_bytes(1, 1, 1, 1, kMost - 254)), InvalidArgument);
}

}  // namespace
}  // namespace tapedeck::tests
