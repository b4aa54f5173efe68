#include "tapedeck/fit/quantization.hpp"

#include <gmock/gmock.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

#include "base/most.hpp"
#include "base/paths.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/fit/kv_cache.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr QuantizationHardware kFastInt8 = {.fast_int8 = true};
constexpr QuantizationHardware kPlain = {};

// The upstream's cases.

TEST(RecommendQuantizationUpstream, SevenBIn32GbWithFastInt8IsInt8) {
  const QuantizationAdvice advice = recommend_quantization(7, 32, kFastInt8);
  EXPECT_EQ(label(advice.quantization), "int8");
  EXPECT_EQ(advice.needed_gb, 9U);
}

TEST(RecommendQuantizationUpstream, SeventyBIn64GbWithFastInt8IsInt4) {
  const QuantizationAdvice advice = recommend_quantization(70, 64, kFastInt8);
  EXPECT_EQ(label(advice.quantization), "int4");
  EXPECT_EQ(advice.needed_gb, 37U);
  EXPECT_THAT(advice.reason, Not(HasSubstr("constrained")));
}

TEST(RecommendQuantizationUpstream, OneBIn24GbIsFp16) {
  const QuantizationAdvice advice = recommend_quantization(1, 24, kPlain);
  EXPECT_EQ(label(advice.quantization), "fp16");
  EXPECT_EQ(advice.needed_gb, 4U);
}

TEST(RecommendQuantizationUpstream, EightBIn16GbIsInt4) {
  const QuantizationAdvice advice = recommend_quantization(8, 16, kPlain);
  EXPECT_EQ(label(advice.quantization), "int4");
  EXPECT_THAT(advice.reason, Not(HasSubstr("constrained")));
}

TEST(RecommendQuantizationUpstream, ThirtyBIn16GbWithFastInt8IsConstrained) {
  const QuantizationAdvice advice = recommend_quantization(30, 16, kFastInt8);
  EXPECT_EQ(label(advice.quantization), "int4");
  EXPECT_THAT(advice.reason, HasSubstr("constrained"));
}

TEST(RecommendQuantizationUpstream, HeadroomOf8KLeavesFp16And128KDoesNot) {
  const KvCacheParams at_8k = {
      .num_layers = 32, .num_kv_heads = 8, .head_dim = 128, .ctx_len = 8192};
  KvCacheParams at_128k = at_8k;
  at_128k.ctx_len = 131'072;
  const auto with = [](const KvCacheParams& params) {
    return label(recommend_quantization(8, 24, kPlain, kv_cache_bytes(params)).quantization);
  };
  EXPECT_EQ(with(at_8k), "fp16");
  EXPECT_EQ(with(at_128k), "int4");
}

// The edges.

TEST(RecommendQuantization, FitsToTheGb) {
  const auto plain = [](double billions, std::uint64_t gb) {
    return recommend_quantization(billions, gb, kPlain).quantization;
  };
  EXPECT_EQ(plain(8, 18), Quantization::fp16);  // 16 + 2
  EXPECT_EQ(plain(8, 17), Quantization::int4);
  EXPECT_EQ(plain(7.1, 17), Quantization::fp16);  // 15 + 2
  EXPECT_EQ(plain(7.1, 16), Quantization::int4);
  const auto fast = [](double billions, std::uint64_t gb) {
    return recommend_quantization(billions, gb, kFastInt8);
  };
  EXPECT_EQ(fast(8, 10).quantization, Quantization::int8);
  EXPECT_EQ(fast(8, 9).quantization, Quantization::int4);
  EXPECT_THAT(fast(8, 6).reason, Not(HasSubstr("constrained")));  // 4 + 2
  EXPECT_THAT(fast(8, 5).reason, HasSubstr("constrained"));
  EXPECT_EQ(fast(8, 5).needed_gb, 6U);
}

TEST(RecommendQuantization, HeadroomIsInWholeGibRoundedUp) {
  const auto needed = [](std::uint64_t headroom) {
    return recommend_quantization(8, 100, kPlain, headroom).needed_gb;
  };
  EXPECT_EQ(needed(0), 16U);
  EXPECT_EQ(needed(1), 17U);
  EXPECT_EQ(needed(1_GiB), 17U);
  EXPECT_EQ(needed(1_GiB + 1), 18U);
  EXPECT_EQ(needed(std::numeric_limits<std::uint64_t>::max()), 4U + (std::uint64_t{1} << 34));
}

TEST(RecommendQuantization, ImpossibleCountsAreErrors) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {0.0, -1.0, kInfinity, -kInfinity, kNan, 1e30}) {
    EXPECT_THROW(static_cast<void>(recommend_quantization(bad, 1, kPlain)), InvalidArgument) << bad;
  }
}

/// advise_quantization of a config.json of this text.
class AdviseQuantization : public ::testing::Test {
 protected:
  [[nodiscard]] QuantizationReport advise(const std::string& json, QuantizationRequest request) {
    return advise_quantization(folder_.write("config.json", json), request);
  }
  /// The bytes of its cache, the parameter count being given.
  [[nodiscard]] std::optional<std::uint64_t> cache(const std::string& json,
                                                   QuantizationRequest request = {}) {
    request.available_gb = 24;
    request.params_billions = 8;
    return advise(json, request).kv_cache_bytes;
  }

  TempFolder folder_;
};

const std::string kFourFields =
    R"({"num_hidden_layers": 32, "num_key_value_heads": 8, "hidden_size": 4096,
        "num_attention_heads": 32})";

TEST_F(AdviseQuantization, ReadsTheFourFieldsAndAssumes8192Tokens) {
  const QuantizationReport report =
      advise(kFourFields, {.available_gb = 24, .params_billions = 8.0});
  EXPECT_EQ(report.kv_cache_bytes, 1_GiB);
  EXPECT_EQ(label(report.advice.quantization), "fp16");
  EXPECT_EQ(report.advice.needed_gb, 17U);
  EXPECT_EQ(report.params_billions, 8.0);
}

TEST_F(AdviseQuantization, TheContextDecides) {
  const QuantizationReport report =
      advise(kFourFields, {.available_gb = 24, .context = 131'072, .params_billions = 8.0});
  EXPECT_EQ(report.kv_cache_bytes, 16_GiB);
  EXPECT_EQ(label(report.advice.quantization), "int4");
}

TEST_F(AdviseQuantization, BatchAndInt8Count) {
  EXPECT_EQ(cache(kFourFields, {.batch = 3}), 3_GiB);
  EXPECT_EQ(cache(kFourFields, {.int8_kv = true}), 512_MiB);
  EXPECT_EQ(cache(kFourFields, {.context = 1}), 32_MiB);  // 256 tokens
}

TEST_F(AdviseQuantization, SaysNothingOfACacheWhereFieldsAreMissing) {
  for (const char* json :
       {"{}", R"({"num_hidden_layers": 32})",
        R"({"num_hidden_layers": null, "num_key_value_heads": 8, "num_attention_heads": 32})"}) {
    const QuantizationReport report = advise(json, {.available_gb = 24, .params_billions = 8.0});
    EXPECT_EQ(report.kv_cache_bytes, std::nullopt) << json;
    EXPECT_EQ(report.advice.needed_gb, 18U);  // headroom of 2
  }
}

TEST_F(AdviseQuantization, ImpossibleFiguresAreErrors) {
  for (const char* json :
       {R"({"num_hidden_layers": 32, "num_key_value_heads": 8, "hidden_size": 4096,
            "num_attention_heads": 0})",
        R"({"num_hidden_layers": 32, "num_key_value_heads": 8, "hidden_size": 4097,
            "num_attention_heads": 32})",
        R"({"num_hidden_layers": 99999999999999999, "num_key_value_heads": 8,
            "hidden_size": 4096000000000000, "num_attention_heads": 32})"}) {
    EXPECT_THROW(static_cast<void>(cache(json)), Error) << json;
  }
  EXPECT_THROW(static_cast<void>(cache(kFourFields, {.context = 0})), InvalidArgument);
  EXPECT_THROW(static_cast<void>(cache(kFourFields, {.batch = 0})), InvalidArgument);
  EXPECT_THROW(static_cast<void>(cache(kFourFields, {.context = kMost})), InvalidArgument);
}

TEST_F(AdviseQuantization, WithoutAParameterCountThereIsNoAdvice) {
  EXPECT_THROW(static_cast<void>(advise("{}", {.available_gb = 24})), InvalidArgument);
}

TEST_F(AdviseQuantization, NoConfigIsAnError) {
  EXPECT_THROW(static_cast<void>(advise_quantization(folder_ / "none.json", {})), SystemError);
  EXPECT_THROW(static_cast<void>(advise("[", {.params_billions = 1.0})), FormatError);
}

/// Published configurations.
class AdviseQuantizationOf : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(configs_)) GTEST_SKIP() << "no " << configs_;
  }
  [[nodiscard]] QuantizationReport advise(const std::string& name,
                                          const QuantizationRequest& request = {}) const {
    return advise_quantization(configs_ / (name + ".json"), request);
  }

  std::filesystem::path configs_ = shared_data("configs");
};

TEST_F(AdviseQuantizationOf, Llama3TakesNothingButTheFile) {
  const QuantizationReport report = advise("meta-llama--Meta-Llama-3.1-8B", {.available_gb = 24});
  EXPECT_EQ(report.params_billions, 8.030261248);
  EXPECT_EQ(report.kv_cache_bytes, 1_GiB);
  EXPECT_EQ(label(report.advice.quantization), "fp16");
  EXPECT_EQ(report.advice.needed_gb, 18U);  // 16.06 rounded up, and 1
}

// Upstream divides hidden_size by the heads: 64 instead of 128, half of what the cache takes.
TEST_F(AdviseQuantizationOf, AnExplicitHeadWidthCounts) {
  constexpr std::uint64_t kContext = 8192;
  EXPECT_EQ(advise("Qwen--Qwen3-30B-A3B").kv_cache_bytes, kContext * 48 * 2 * 4 * 128 * 2);
}

// Upstream gives each of 26 layers the whole context; 22 keep a window of 512.
TEST_F(AdviseQuantizationOf, WindowsCount) {
  constexpr std::uint64_t kRow = 2ULL * 256 * 2;  // K and V of one head of 256
  EXPECT_EQ(advise("google--gemma-3-1b-it", {.context = 32'768}).kv_cache_bytes,
            kRow * (4 * 32'768 + 22 * (512 + 512)));
}

// Upstream takes 128 heads of 56; what is cached is one row of 512 + 64.
TEST_F(AdviseQuantizationOf, LatentAttentionCounts) {
  EXPECT_EQ(advise("deepseek-ai--DeepSeek-V3").kv_cache_bytes, 61U * 8192 * 576 * 2);
}

// Upstream gives each of 24 layers a cache; every fourth has one.
TEST_F(AdviseQuantizationOf, LayersWithoutAttentionDoNotCount) {
  EXPECT_EQ(advise("Qwen--Qwen3.5-0.8B", {.params_billions = 0.8}).kv_cache_bytes,
            6U * 8192 * 2 * 2 * 256 * 2);
}

}  // namespace
}  // namespace tapedeck::tests
