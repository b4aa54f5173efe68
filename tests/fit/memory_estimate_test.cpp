#include "tapedeck/fit/memory_estimate.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;

constexpr ModelClass kSeven = {"7", "made up", 7.0, 32, 4096};

// Every part by hand: 7 · 0.5625; 2·32·4096·4096·2 bytes · 0.3; (0.8 + 0.1·3.9375)·1.
TEST(MemoryEstimateUpstream, PartsAndTotal) {
  const MemoryEstimate estimate = estimate_memory(kSeven, quant_tier("q4_0"));
  EXPECT_EQ(estimate.weights_gb, 3.94);
  EXPECT_EQ(estimate.kv_cache_gb, 0.64);
  EXPECT_EQ(estimate.overhead_gb, 1.19);
  EXPECT_EQ(estimate.context_tokens, 4096U);
  EXPECT_EQ(estimate.total_gb, 5.77);
}

TEST(MemoryEstimateUpstream, ContextDefaultsTo4096AndTheFactorTo1) {
  const MemoryEstimate given = estimate_memory(kSeven, quant_tier("q8_0"), 4096, 1.0);
  const MemoryEstimate defaults = estimate_memory(kSeven, quant_tier("q8_0"));
  EXPECT_EQ(defaults.total_gb, given.total_gb);
  EXPECT_EQ(defaults.context_tokens, 4096U);
}

TEST(MemoryEstimateUpstream, TheCacheGrowsWithTheContext) {
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 0).kv_cache_gb, 0.0);
  // 2·32·4096·131072·2·0.3 / 1e9 = 20.6158
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 131'072).kv_cache_gb, 20.62);
}

TEST(MemoryEstimateUpstream, OverheadIsTimesTheFactor) {
  // (0.8 + 0.1·14)·1.25 = 2.75
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 4096, 1.25).overhead_gb, 2.75);
  // (0.8 + 0.1·14)·1.99 = 4.378
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 4096, 1.99).overhead_gb, 4.38);
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 4096, 0.0).overhead_gb, 0.0);
}

TEST(MemoryEstimateUpstream, JobsThatTrainTakeTheWeightsAgain) {
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 4096, 2.0).overhead_gb, 14.8);
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 4096, 8.0).overhead_gb, 98.8);
  EXPECT_EQ(estimate_memory(kSeven, quant_tier("f16"), 4096, 8.0).total_gb, 113.44);
}

// The total is the sum of the rounded parts, not the rounded sum of the parts:
// 1.004 + 0.904 (overhead 0.8 + 0.1004 = 0.9004) is 1.00 + 0.90, where the sum 1.9044 is 1.90 too;
// 2.005 and 1.0005 tell them apart.
TEST(MemoryEstimateUpstream, TheTotalSumsTheRoundedParts) {
  const ModelClass model = {"made up", "", 1.046, 0, 0};
  const MemoryEstimate estimate = estimate_memory(model, {"one", 1.0});
  EXPECT_EQ(estimate.weights_gb, 1.05);
  EXPECT_EQ(estimate.overhead_gb, 0.9);  // 0.9046
  EXPECT_EQ(estimate.total_gb, 1.95);
  const ModelClass other = {"made up", "", 0.554, 0, 0};
  // 0.554 and 0.8554 sum up to 1.4094: 1.41 as well as 0.55 + 0.86.
  EXPECT_EQ(estimate_memory(other, {"one", 1.0}).total_gb, 1.41);
  const ModelClass third = {"made up", "", 3.046, 0, 0};
  // 3.046 and 1.1046 sum up to 4.1506: 4.15, as 3.05 + 1.10.
  EXPECT_EQ(estimate_memory(third, {"one", 1.0}).total_gb, 4.15);
  const ModelClass fourth = {"made up", "", 1.054, 0, 0};
  // 1.054 and 0.9054 sum up to 1.9594, which is 1.96; the rounded parts are 1.05 and 0.91.
  EXPECT_EQ(estimate_memory(fourth, {"one", 1.0}).total_gb, 1.96);
  const ModelClass fifth = {"made up", "", 0.534, 0, 0};
  // 0.534 and 0.8534 sum up to 1.3874: 1.39. The rounded parts are 0.53 and 0.85: 1.38.
  EXPECT_EQ(estimate_memory(fifth, {"one", 1.0}).total_gb, 1.38);
}

// Overhead is computed from the weights before they are rounded: 0.1 · 0.049 and 0.1 · 0.05.
TEST(MemoryEstimate, OverheadIsOfTheExactWeights) {
  const ModelClass model = {"made up", "", 0.049, 0, 0};
  EXPECT_EQ(estimate_memory(model, {"one", 1.0}).overhead_gb, 0.8);  // 0.8049; of 0.05: 0.805
}

// 2.675 is a little less than its digits say, and 0.125 exactly what they say.
TEST(MemoryEstimate, RoundingIsExact) {
  const auto weights = [](double gb) {
    return estimate_memory({"made up", "", gb, 0, 0}, {"one", 1.0}).weights_gb;
  };
  EXPECT_EQ(weights(2.675), 2.67);
  EXPECT_EQ(weights(1.005), 1.0);
  EXPECT_EQ(weights(0.125), 0.12);
  EXPECT_EQ(weights(0.375), 0.38);
  EXPECT_EQ(weights(0.0), 0.0);
  EXPECT_EQ(weights(123456789.126), 123456789.13);
}

TEST(MemoryEstimate, ImpossibleFiguresAreErrors) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const QuantTier tier = quant_tier("f16");
  for (const double bad : {-1.0, kNan, kInfinity, -kInfinity}) {
    const ModelClass model = {"bad", "", bad, 1, 1};
    EXPECT_THROW(static_cast<void>(estimate_memory(model, tier)), InvalidArgument) << bad;
    EXPECT_THROW(static_cast<void>(estimate_memory(kSeven, {"bad", bad})), InvalidArgument) << bad;
    EXPECT_THROW(static_cast<void>(estimate_memory(kSeven, tier, 1, bad)), InvalidArgument) << bad;
  }
  const ModelClass huge = {"huge", "", 1.0, std::uint64_t{1} << 31, std::uint64_t{1} << 31};
  EXPECT_THROW(static_cast<void>(estimate_memory(huge, tier)), InvalidArgument);
  const ModelClass endless = {"endless", "", 1e300, 1, 1};
  EXPECT_THROW(static_cast<void>(estimate_memory(endless, {"bad", 1e300})), InvalidArgument);
}

// Bits per weight of the real types, as ggml's blocks give them.
TEST(Catalogue, TiersAreTheBytesOfAWeight) {
  const std::map<std::string, double> bits = {
      {"f32", 32},       {"f16", 16},     {"bf16", 16},        {"q8_0", 8.5},    {"q6_k", 6.5625},
      {"q5_k", 5.5},     {"q5_1", 6},     {"q5_0", 5.5},       {"q4_k", 4.5},    {"q4_1", 5},
      {"q4_0", 4.5},     {"mxfp4", 4.25}, {"nvfp4", 4.5},      {"iq4_xs", 4.25}, {"q3_k", 3.4375},
      {"iq3_s", 3.4375}, {"q2_k", 2.625}, {"iq2_xxs", 2.0625}, {"iq1_s", 1.5625}};
  EXPECT_EQ(quant_tiers().size(), bits.size());
  for (const auto& [name, of] : bits) EXPECT_EQ(quant_tier(name).gb_per_billion * 8, of) << name;
}

TEST(Catalogue, IsInOrder) {
  const auto classes = model_classes();
  EXPECT_TRUE(std::is_sorted(classes.begin(), classes.end(),
                             [](const auto& a, const auto& b) { return a.billions < b.billions; }));
  const auto tiers = quant_tiers();
  EXPECT_TRUE(std::is_sorted(tiers.begin(), tiers.end(), [](const auto& a, const auto& b) {
    return a.gb_per_billion > b.gb_per_billion;
  }));
  const auto cases = use_cases();
  EXPECT_TRUE(std::is_sorted(cases.begin(), cases.end(), [](const auto& a, const auto& b) {
    return a.job_overhead_factor < b.job_overhead_factor;
  }));
  EXPECT_EQ(use_case("chat").job_overhead_factor, 1.0);
  EXPECT_EQ(use_case("full-fine-tuning").job_overhead_factor, 8.0);
}

TEST(Catalogue, AnUnknownNameIsAnErrorThatListsTheKnown) {
  EXPECT_THROW(static_cast<void>(quant_tier("q9")), InvalidArgument);
  EXPECT_THROW(static_cast<void>(use_case("")), InvalidArgument);
  const auto error = thrown<InvalidArgument>([&] { static_cast<void>(model_class("9B")); });
  EXPECT_EQ(error.argument(), "model class");
  EXPECT_THAT(error.advice(), HasSubstr("7B, 8B, 20B"));
}

/// The published configuration a class has its figures from.
const std::map<std::string, std::string> kConfigOf = {
    {"0.5B", "Qwen--Qwen2.5-0.5B"},
    {"1B", "meta-llama--Llama-3.2-1B"},
    {"2B", "google--gemma-2-2b"},
    {"4B", "google--gemma-3-4b-it"},
    {"7B", "mistralai--Mistral-7B-v0.1"},
    {"8B", "meta-llama--Meta-Llama-3.1-8B"},
    {"20B", "openai--gpt-oss-20b"},
    {"24B", "mistralai--Mistral-Small-24B-Instruct-2501"},
    {"30B-A3B", "Qwen--Qwen3-30B-A3B"},
    {"32B", "Qwen--Qwen3-32B-FP8"},
    {"40B", "tiiuae--falcon-40b"},
    {"8x7B", "mistralai--Mixtral-8x7B-v0.1"},
    {"230B-A10B", "MiniMaxAI--MiniMax-M2.5"},
    {"405B", "meta-llama--Meta-Llama-3.1-405B"},
    {"671B", "deepseek-ai--DeepSeek-V3"},
    {"1T", "moonshotai--Kimi-K2-Instruct"},
};

// The figure of a file in an index.csv whose fields may be quoted; the exact count stands alone
// between two commas.
bool index_has(const std::string& index, const std::string& file, double billions) {
  const std::size_t row = index.find(file + ".json,");
  if (row == std::string::npos) return false;
  const std::string line = index.substr(row, index.find('\n', row) - row);
  const auto count = static_cast<std::uint64_t>(std::llround(billions * 1e9));
  return line.find("," + std::to_string(count) + ",") != std::string::npos;
}

TEST(Catalogue, ClassesAreRealModels) {
  const std::filesystem::path configs = shared_data("configs");
  if (!std::filesystem::exists(configs)) GTEST_SKIP() << "no " << configs;
  std::ifstream in(configs / "INDEX.csv");
  const std::string index{std::istreambuf_iterator<char>(in), {}};
  for (const ModelClass& of : model_classes()) {
    if (of.name == "70B") continue;  // its configuration is not among the data
    const std::string file = kConfigOf.at(std::string(of.name));
    std::ifstream config(configs / (file + ".json"));
    nlohmann::json json = nlohmann::json::parse(config);
    if (json.contains("text_config")) json = json.at("text_config");
    EXPECT_EQ(json.at("num_hidden_layers").get<std::uint64_t>(), of.n_layers) << file;
    EXPECT_EQ(json.at("hidden_size").get<std::uint64_t>(), of.hidden) << file;
    EXPECT_TRUE(index_has(index, file, of.billions)) << file;
  }
}

// 80 layers of 64 query and 8 KV heads of 128, an FFN of 28,672, 128,256 words, untied.
TEST(Catalogue, TheClassOf70BIsTheSumOfItsShapes) {
  constexpr std::uint64_t kLayer =
      2 * 8192ULL * 8192 + 2 * 8192ULL * 1024 + 3 * 8192ULL * 28'672 + 2ULL * 8192;
  constexpr std::uint64_t kCounted = 80 * kLayer + 2 * 128'256ULL * 8192 + 8192;
  EXPECT_EQ(std::llround(model_class("70B").billions * 1e9), static_cast<long long>(kCounted));
}

}  // namespace
}  // namespace tapedeck::tests
