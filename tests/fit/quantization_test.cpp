// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/quantization.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/most.hpp"
#include "base/paths.hpp"
#include "os/temp_folder.hpp"
#include "plan/refused.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/fit/kv_cache.hpp"

namespace tapedeck::tests {
namespace {

/// A recommendation, and the memory that it needs. "constrained" is upstream's term if nothing
/// fits.
struct Recommended {
  double billions;
  std::uint64_t available_gb;
  bool fast_int8;
  std::optional<std::uint64_t> headroom;
  const char* label;
  std::uint64_t needed_gb;
  bool constrained = false;
};

const Recommended kRecommended[] = {
    // Upstream's cases.
    {7, 32, true, {}, "int8", 9},
    {70, 64, true, {}, "int4", 37},
    {1, 24, false, {}, "fp16", 4},
    {8, 16, false, {}, "int4", 6},
    {30, 16, true, {}, "int4", 17, true},
    {8, 24, false, kv_cache_bytes(32, 8, 128, 2, 8192), "fp16", 17},
    {8, 24, false, kv_cache_bytes(32, 8, 128, 2, 131'072), "int4", 20},
    // Fits exactly, to the GB.
    {8, 18, false, {}, "fp16", 18},
    {8, 17, false, {}, "int4", 6},
    {7.1, 17, false, {}, "fp16", 17},  // 15 + 2
    {7.1, 16, false, {}, "int4", 6},
    {8, 10, true, {}, "int8", 10},
    {8, 9, true, {}, "int4", 6},
    {8, 6, true, {}, "int4", 6},
    {8, 5, true, {}, "int4", 6, true},
    // Headroom is rounded up to whole GiB.
    {8, 100, false, 0, "fp16", 16},
    {8, 100, false, 1, "fp16", 17},
    {8, 100, false, 1_GiB, "fp16", 17},
    {8, 100, false, 1_GiB + 1, "fp16", 18},
    {8, 100, false, kMost, "int4", 4 + (std::uint64_t{1} << 34), true},
};

TEST(RecommendQuantization, IsTheWidestThatFitsOrTheFastest) {
  for (const Recommended& each : kRecommended) {
    SCOPED_TRACE(std::to_string(each.billions) + " in " + std::to_string(each.available_gb));
    const QuantizationAdvice advice =
        recommend_quantization(each.billions, each.available_gb, {each.fast_int8}, each.headroom);
    EXPECT_EQ(label(advice.quantization), each.label);
    EXPECT_EQ(advice.needed_gb, each.needed_gb);
    EXPECT_EQ(advice.reason.find("constrained") != std::string::npos, each.constrained);
  }
  EXPECT_EQ(recommend_quantization(8, 17, {}).reason,
            "fp16 does not fit, but INT4 does: int4 needs 6 GB of the available 17 GB");
}

TEST(RecommendQuantization, ImpossibleCountsAreErrors) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {0.0, -1.0, kInfinity, -kInfinity, kNan, 1e30}) {
    EXPECT_EQ(refused([&] { return recommend_quantization(bad, 1, {}); }),
              Refused{"params_billions"})
        << bad;
  }
}

/// Calls advise_quantization for a config.json with this text.
class AdviseQuantization : public ::testing::Test {
 protected:
  [[nodiscard]] QuantizationReport advise(const std::string& json, QuantizationRequest request) {
    return advise_quantization(folder_.write("config.json", json), request);
  }
  /// The bytes of the model's cache, for a given number of parameters.
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
  QuantizationReport report = advise(kFourFields, {.available_gb = 24, .params_billions = 8.0});
  EXPECT_EQ(report.kv_cache_bytes, 1_GiB);
  EXPECT_EQ(report.advice.quantization, Quantization::fp16);
  EXPECT_EQ(report.advice.needed_gb, 17U);
  EXPECT_EQ(report.params_billions, 8.0);
  report = advise(kFourFields, {.available_gb = 24, .context = 131'072, .params_billions = 8.0});
  EXPECT_EQ(report.kv_cache_bytes, 16_GiB);
  EXPECT_EQ(report.advice.quantization, Quantization::int4);
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

TEST_F(AdviseQuantization, ReportsWhatItAssumes) {
  constexpr const char* kKnown =
      R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 100,
          "num_attention_heads": 4, "intermediate_size": 96})";
  constexpr const char* kUnknown =
      R"({"model_type": "sorcery", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 100,
          "num_attention_heads": 4, "intermediate_size": 96})";
  const std::pair<const char*, std::size_t> expected[] = {
      {kKnown, 0},
      {kUnknown, 2},  // its layers, and its tensors
      {"{}", 2},      // no layers, and so no cache
  };
  for (const auto& [json, warnings] : expected) {
    const QuantizationReport report = advise(json, {.available_gb = 24, .params_billions = 8.0});
    EXPECT_EQ(report.warnings.size(), warnings)
        << json << ::testing::PrintToString(report.warnings);
  }
}

TEST_F(AdviseQuantization, ImpossibleFiguresAreErrors) {
  const auto of_heads = [](const char* layers, const char* hidden, const char* heads) {
    return std::string(R"({"num_key_value_heads": 8, "num_hidden_layers": )") + layers +
           R"(, "hidden_size": )" + hidden + R"(, "num_attention_heads": )" + heads + "}";
  };
  for (const std::string& json : {of_heads("32", "4096", "0"), of_heads("32", "4097", "32"),
                                  of_heads("99999999999999999", "4096000000000000", "32")}) {
    EXPECT_THROW(static_cast<void>(cache(json)), Error) << json;
  }
  EXPECT_EQ(refused([&] { return cache(kFourFields, {.context = 0}); }),
            (Refused{"QuantizationRequest::context", 0, 1}));
  EXPECT_EQ(refused([&] { return cache(kFourFields, {.batch = 0}); }), (Refused{"batch", 0, 1}));
  EXPECT_EQ(refused([&] { return cache(kFourFields, {.context = kMost}); }),
            Refused{"the size of the KV cache"});
  EXPECT_EQ(refused([&] { return advise("{}", {.available_gb = 24}); }),
            Refused{"QuantizationRequest::params_billions"});
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
  EXPECT_EQ(report.advice.needed_gb, 18U);  // 16.06 rounded up, plus 1
}

// Upstream divides hidden_size by the number of heads and gets 64 instead of 128, so half of the
// cache.
TEST_F(AdviseQuantizationOf, AnExplicitHeadWidthCounts) {
  constexpr std::uint64_t kContext = 8192;
  EXPECT_EQ(advise("Qwen--Qwen3-30B-A3B").kv_cache_bytes, kContext * 48 * 2 * 4 * 128 * 2);
}

// Upstream counts the whole context for each of 26 layers; 22 of them keep a window of 512.
TEST_F(AdviseQuantizationOf, WindowsCount) {
  constexpr std::uint64_t kRow = 2ULL * 256 * 2;  // K and V of one head of 256
  EXPECT_EQ(advise("google--gemma-3-1b-it", {.context = 32'768}).kv_cache_bytes,
            kRow * (4 * 32'768 + 22 * (512 + 512)));
}

// Upstream counts 128 heads of 56; the cache has one row of 512 + 64.
TEST_F(AdviseQuantizationOf, LatentAttentionCounts) {
  EXPECT_EQ(advise("deepseek-ai--DeepSeek-V3").kv_cache_bytes, 61U * 8192 * 576 * 2);
}

// Upstream counts a cache for each of 24 layers; only every fourth has one.
TEST_F(AdviseQuantizationOf, LayersWithoutAttentionDoNotCount) {
  EXPECT_EQ(advise("Qwen--Qwen3.5-0.8B", {.params_billions = 0.8}).kv_cache_bytes,
            6U * 8192 * 2 * 2 * 256 * 2);
}

}  // namespace
}  // namespace tapedeck::tests
