// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/streaming_config.hpp"
#include "base/most.hpp"

#include <gtest/gtest.h>

#include <cstdint>

#include "base/thrown.hpp"
#include "plan/refused.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kMb = 1'000'000;

constexpr StreamingConfig kQwen2 = {.hidden_dim = 1536,
                                    .num_layers = 28,
                                    .num_heads = 12,
                                    .num_kv_heads = 2,
                                    .vocab_size = 151'936,
                                    .intermediate_dim = 8960,
                                    .max_seq_len = 2048};
constexpr StreamingConfig kSmall = {.hidden_dim = 256,
                                    .num_layers = 4,
                                    .num_heads = 4,
                                    .num_kv_heads = 4,
                                    .vocab_size = 1000,
                                    .intermediate_dim = 512,
                                    .max_seq_len = 512};

TEST(StreamingConfig, UpstreamsCases) {
  EXPECT_GT(kQwen2.full_cache_bytes(), 5500 * kMb);
  EXPECT_LT(kQwen2.full_cache_bytes(), 7000 * kMb);
  EXPECT_LT(kQwen2.streaming_bytes(), kQwen2.full_cache_bytes() / 2);
  EXPECT_GT(kQwen2.streaming_bytes(), 1536ULL * 151'936 * 4);  // the embedding table
  EXPECT_GT(kQwen2.layer_bytes(), 150 * kMb);
  EXPECT_LT(kQwen2.layer_bytes(), 250 * kMb);
  EXPECT_TRUE(should_use_streaming(2_GiB, kQwen2));
  EXPECT_EQ(check_vram_sufficient(2_GiB, 8_GiB, kQwen2), StreamingMode::layer_streaming);
  EXPECT_FALSE(should_use_streaming(12_GiB, kQwen2));
  EXPECT_EQ(check_vram_sufficient(12_GiB, 16_GiB, kQwen2), StreamingMode::full_cache);
  EXPECT_FALSE(should_use_streaming(512_MiB, kQwen2));
  EXPECT_EQ(check_vram_sufficient(1_GiB, 1_GiB, kSmall), StreamingMode::full_cache);
  EXPECT_EQ(description(StreamingMode::full_cache), "Full Cache (all layers pre-cached on GPU)");
  EXPECT_EQ(description(StreamingMode::layer_streaming),
            "Layer Streaming (weights loaded per-layer)");
}

// The formulas, computed by hand.

TEST(StreamingConfig, EveryFigureOfQwen2) {
  // K and V are 2 heads of 128 each.
  constexpr std::uint64_t kMatrices = 1536ULL * (1536 + 512) + 1536ULL * 1536 + 3ULL * 1536 * 8960;
  constexpr std::uint64_t kLayer = (kMatrices + 2ULL * 1536) * 4;
  constexpr std::uint64_t kTable = 1536ULL * 151'936;
  constexpr std::uint64_t kCache = 2ULL * 28 * 2048 * 256 * 4;
  EXPECT_EQ(kQwen2.layer_bytes(), kLayer);
  EXPECT_EQ(kQwen2.kv_cache_bytes(), kCache);
  EXPECT_EQ(kQwen2.full_cache_bytes(), kTable * 4 + 1536ULL * 4 + 28 * kLayer + kCache);
  EXPECT_EQ(kQwen2.streaming_bytes(), kTable * 4 + 1536ULL * 4 + kLayer + kCache);
  EXPECT_EQ(kQwen2.prefill_cache_bytes(true), kMatrices * 28 + kTable);
  EXPECT_EQ(kQwen2.prefill_cache_bytes(false), 2 * (kMatrices * 28 + kTable));
}

TEST(StreamingConfig, NinetyPercentAreUsable) {
  EXPECT_EQ(usable_vram(0), 0U);
  EXPECT_EQ(usable_vram(1), 0U);
  EXPECT_EQ(usable_vram(19), 17U);
  EXPECT_EQ(usable_vram(100), 90U);
  EXPECT_EQ(usable_vram(kMost), kMost / 10 * 9 + 4);  // ends in 5, without intermediate overflow
}

TEST(StreamingConfig, OneByteDecides) {
  // The minimum free memory whose usable part holds `need`.
  const auto free_for = [](std::uint64_t need) { return (need * 10 + 8) / 9; };
  const std::uint64_t full = free_for(kQwen2.full_cache_bytes());
  EXPECT_EQ(check_vram_sufficient(full, full, kQwen2), StreamingMode::full_cache);
  EXPECT_FALSE(should_use_streaming(full, kQwen2));
  EXPECT_EQ(check_vram_sufficient(full - 1, full, kQwen2), StreamingMode::layer_streaming);
  EXPECT_TRUE(should_use_streaming(full - 1, kQwen2));
  const std::uint64_t streaming = free_for(kQwen2.streaming_bytes());
  EXPECT_TRUE(should_use_streaming(streaming, kQwen2));
  EXPECT_FALSE(should_use_streaming(streaming - 1, kQwen2));
  EXPECT_THROW(static_cast<void>(check_vram_sufficient(streaming - 1, full, kQwen2)),
               InsufficientVram);
}

TEST(StreamingConfig, TheErrorStatesEveryFigure) {
  const auto error = thrown<InsufficientVram>(
      [&] { static_cast<void>(check_vram_sufficient(512_MiB, 8_GiB, kQwen2)); });
  EXPECT_EQ(error.figures().full_cache, kQwen2.full_cache_bytes());
  EXPECT_EQ(error.figures().streaming, kQwen2.streaming_bytes());
  EXPECT_EQ(error.figures().available, usable_vram(512_MiB));
  EXPECT_EQ(error.figures().total, 8_GiB);
  EXPECT_EQ(error.needed(), kQwen2.streaming_bytes());
  EXPECT_EQ(error.available(), usable_vram(512_MiB));
  EXPECT_EQ(error.purpose(),
            "Insufficient VRAM: the full cache needs 6000 MB and layer streaming 1180 MB, but "
            "only 460 MB of 8192 MB are available. Layer streaming");
}

// Cases where upstream is wrong.

// Upstream divides by the head count, and guards only the prefill.
TEST(StreamingConfigMended, AHeadCountOfZeroIsAnError) {
  StreamingConfig config = kSmall;
  config.num_heads = 0;
  const Refused zero = {"num_heads", 0, 1};
  EXPECT_EQ(refused([&] { return config.layer_bytes(); }), zero);
  EXPECT_EQ(refused([&] { return config.kv_cache_bytes(); }), zero);
  EXPECT_EQ(refused([&] { return config.full_cache_bytes(); }), zero);
  EXPECT_EQ(refused([&] { return config.streaming_bytes(); }), zero);
  EXPECT_EQ(refused([&] { return config.prefill_cache_bytes(true); }), zero);
  EXPECT_EQ(refused([&] { return should_use_streaming(1_GiB, config); }), zero);
  EXPECT_EQ(refused([&] { return check_vram_sufficient(1_GiB, 1_GiB, config); }), zero);
}

// Upstream rounds the width of a head down, and therefore the cache too.
TEST(StreamingConfigMended, HeadCountsThatDoNotDivideAreErrors) {
  StreamingConfig config = kSmall;
  const auto refused_layer = [&config] { return refused([&] { return config.layer_bytes(); }); };
  config.num_heads = 3;
  EXPECT_EQ(refused_layer(), (Refused{"num_heads", 3}));
  config = kSmall;
  config.num_kv_heads = 0;
  EXPECT_EQ(refused_layer(), (Refused{"num_kv_heads", 0, 1}));
  for (const std::uint64_t kv_heads : {3U, 8U}) {
    config.num_kv_heads = kv_heads;
    EXPECT_EQ(refused_layer(), (Refused{"num_kv_heads", kv_heads}));
  }
}

// Upstream wraps around to a small number, and reports that it fits.
TEST(StreamingConfigMended, OverflowIsAnError) {
  StreamingConfig config = kSmall;
  config.num_layers = kMost / 2;
  EXPECT_EQ(refused([&] { return config.layer_bytes(); }), Refused{});
  EXPECT_EQ(refused([&] { return config.kv_cache_bytes(); }), Refused{"the size of the KV cache"});
  EXPECT_EQ(refused([&] { return config.full_cache_bytes(); }),
            Refused{"the size of the full cache"});
  EXPECT_EQ(refused([&] { return config.prefill_cache_bytes(true); }),
            Refused{"the size of the prefill cache"});
  config = kSmall;
  config.vocab_size = kMost / 256;
  EXPECT_EQ(refused([&] { return config.streaming_bytes(); }),
            Refused{"the size of layer streaming"});
  EXPECT_EQ(refused([&] { return config.kv_cache_bytes(); }), Refused{});
  config = kSmall;
  config.hidden_dim = std::uint64_t{1} << 33;
  EXPECT_EQ(refused([&] { return config.layer_bytes(); }), Refused{"the size of a layer"});
  config = kSmall;
  config.layer_slots = kMost;
  EXPECT_EQ(refused([&] { return config.streaming_bytes(); }),
            Refused{"the size of layer streaming"});
}

// Upstream counts one table for every model; an untied model has both an embedding table and a
// head.
TEST(StreamingConfigMended, AnUntiedModelHoldsItsEmbeddingTableToo) {
  StreamingConfig untied = kQwen2;
  untied.tied_embeddings = false;
  constexpr std::uint64_t kTable = 1536ULL * 151'936 * 4;
  EXPECT_EQ(untied.full_cache_bytes(), kQwen2.full_cache_bytes() + kTable);
  EXPECT_EQ(untied.streaming_bytes(), kQwen2.streaming_bytes() + kTable);
  EXPECT_EQ(untied.layer_bytes(), kQwen2.layer_bytes());
}

// With upstream's single slot the next layer can only be copied after the previous one is done.
TEST(StreamingConfigMended, TwoSlotsLeaveRoomToOverlapCopyAndCompute) {
  StreamingConfig config = kQwen2;
  config.layer_slots = 2;
  EXPECT_EQ(config.streaming_bytes(), kQwen2.streaming_bytes() + kQwen2.layer_bytes());
  EXPECT_EQ(config.full_cache_bytes(), kQwen2.full_cache_bytes());
  config.layer_slots = 0;
  EXPECT_EQ(refused([&] { return config.streaming_bytes(); }), (Refused{"layer_slots", 0, 1}));
}

}  // namespace
}  // namespace tapedeck::tests
