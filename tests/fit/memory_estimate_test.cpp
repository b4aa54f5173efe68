// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/memory_estimate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "model/shared_data.hpp"
#include "plan/refused.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

/// An estimate for 32 layers of 4096, and its parts, computed by hand.
struct Estimated {
  const char* why;
  double billions;
  double gb_per_billion;
  std::uint64_t tokens;
  double factor;
  double weights, kv_cache, overhead, total;
};

const Estimated kEstimates[] = {
    // 7 · 0.5625; 2·32·4096·4096·2 bytes · 0.3; (0.8 + 0.1·3.9375)·1
    {"every part", 7, 0.5625, 4096, 1, 3.94, 0.64, 1.19, 5.77},
    {"no tokens", 7, 2, 0, 1, 14, 0, 2.2, 16.2},
    // 2·32·4096·131072·2·0.3 / 1e9 = 20.6158
    {"a long context", 7, 2, 131'072, 1, 14, 20.62, 2.2, 36.82},
    // (0.8 + 0.1·14)·1.25, and ·1.99 = 4.378
    {"a factor", 7, 2, 4096, 1.25, 14, 0.64, 2.75, 17.39},
    {"nearly training", 7, 2, 4096, 1.99, 14, 0.64, 4.38, 19.02},
    {"no overhead", 7, 2, 4096, 0, 14, 0.64, 0, 14.64},
    // Training jobs need the weights a second time.
    {"training", 7, 2, 4096, 2, 14, 0.64, 14.8, 29.44},
    {"full training", 7, 2, 4096, 8, 14, 0.64, 98.8, 113.44},
    // The total is the sum of the rounded parts, not the rounded sum of the parts: 1.046 and
    // 0.9046;
    // 0.554 and 0.8554; 3.046 and 1.1046; 1.054 and 0.9054; 0.534 and 0.8534, which would be 1.39.
    {"sum 1", 1.046, 1, 0, 1, 1.05, 0, 0.9, 1.95},
    {"sum 2", 0.554, 1, 0, 1, 0.55, 0, 0.86, 1.41},
    {"sum 3", 3.046, 1, 0, 1, 3.05, 0, 1.1, 4.15},
    {"sum 4", 1.054, 1, 0, 1, 1.05, 0, 0.91, 1.96},
    {"sum 5", 0.534, 1, 0, 1, 0.53, 0, 0.85, 1.38},
    // Overhead is computed from the exact weights: 0.8049. From rounded weights it would be 0.805.
    {"exact weights", 0.049, 1, 0, 1, 0.05, 0, 0.8, 0.85},
    // 2.675 is stored slightly below its decimal value, and 0.125 exactly.
    {"below its digits", 2.675, 1, 0, 0, 2.67, 0, 0, 2.67},
    {"one", 1.005, 1, 0, 0, 1, 0, 0, 1},
    {"a tie to the even digit", 0.125, 1, 0, 0, 0.12, 0, 0, 0.12},
    {"another", 0.375, 1, 0, 0, 0.38, 0, 0, 0.38},
    {"nothing", 0, 1, 0, 0, 0, 0, 0, 0},
    {"much", 123456789.126, 1, 0, 0, 123456789.13, 0, 0, 123456789.13},
};

TEST(MemoryEstimate, IsWhatIsComputedByHand) {
  for (const Estimated& each : kEstimates) {
    SCOPED_TRACE(each.why);
    const MemoryEstimate estimate =
        estimate_memory({"made up", "", each.billions, 32, 4096}, {"tier", each.gb_per_billion},
                        each.tokens, each.factor);
    EXPECT_EQ(estimate.weights_gb, each.weights);
    EXPECT_EQ(estimate.kv_cache_gb, each.kv_cache);
    EXPECT_EQ(estimate.overhead_gb, each.overhead);
    EXPECT_EQ(estimate.context_tokens, each.tokens);
    EXPECT_EQ(estimate.total_gb, each.total);
  }
  const MemoryEstimate defaults = estimate_memory({"made up", "", 7, 32, 4096}, quant_tier("q4_0"));
  EXPECT_EQ(defaults.context_tokens, 4096U);
  EXPECT_EQ(defaults.total_gb, 5.77);
}

TEST(MemoryEstimate, ImpossibleFiguresAreErrors) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto refused_figures = [](double billions, double gb, double factor,
                                  std::uint64_t width = 1) {
    return refused([&] {
             return estimate_memory({"bad", "", billions, width, width}, {"bad", gb}, 1, factor);
           })
        .argument;
  };
  for (const double bad : {-1.0, kNan, kInfinity, -kInfinity}) {
    EXPECT_EQ(refused_figures(bad, 1, 1), "ModelClass::billions") << bad;
    EXPECT_EQ(refused_figures(1, bad, 1), "QuantTier::gb_per_billion") << bad;
    EXPECT_EQ(refused_figures(1, 1, bad), "job_overhead_factor") << bad;
  }
  EXPECT_EQ(refused_figures(1, 1, 1, std::uint64_t{1} << 32), "the size of the KV cache");
  EXPECT_EQ(refused_figures(1e300, 1e300, 1), "weights");
}

// Bits per weight of the real types, from ggml's block sizes.
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
  EXPECT_TRUE(std::ranges::is_sorted(model_classes(), {}, &ModelClass::billions));
  EXPECT_TRUE(std::ranges::is_sorted(quant_tiers(), std::greater(), &QuantTier::gb_per_billion));
  EXPECT_TRUE(std::ranges::is_sorted(use_cases(), {}, &UseCase::job_overhead_factor));
  EXPECT_EQ(use_case("chat").job_overhead_factor, 1.0);
  EXPECT_EQ(use_case("full-fine-tuning").job_overhead_factor, 8.0);
}

TEST(Catalogue, AnUnknownNameIsAnErrorThatListsTheKnown) {
  EXPECT_EQ(refused([] { return model_class("9B"); }), Refused{"model class"});
  EXPECT_EQ(refused([] { return quant_tier("q9"); }), Refused{"quantization tier"});
  const auto error = thrown<InvalidArgument>([] { static_cast<void>(use_case("")); });
  EXPECT_EQ(error.argument(), "use case");
  EXPECT_EQ(error.advice(), "use one of chat, rag, agents, lora, full-fine-tuning");
}

/// The published configuration that the figures of a class come from.
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

TEST(Catalogue, ClassesAreRealModels) {
  const std::filesystem::path configs = shared_data("configs");
  if (!std::filesystem::exists(configs)) GTEST_SKIP() << "no " << configs;
  const std::vector<IndexRow> index = table_of(configs / "INDEX.csv");
  for (const ModelClass& of : model_classes()) {
    if (of.name == "70B") continue;  // its configuration is not in the test data
    const std::string file = kConfigOf.at(std::string(of.name)) + ".json";
    SCOPED_TRACE(file);
    const ModelShape shape = read_model(configs / file).shape;
    EXPECT_EQ(shape.layers.size(), of.n_layers);
    EXPECT_EQ(shape.hidden, of.hidden);
    const auto row =
        std::ranges::find_if(index, [&](const IndexRow& each) { return each.at("file") == file; });
    ASSERT_NE(row, index.end());
    const std::string count = std::to_string(std::llround(of.billions * 1e9));
    EXPECT_TRUE(row->at("params_stated") == count || row->at("params_formula") == count);
  }
}

// 80 layers of 64 query heads and 8 KV heads of size 128, an FFN of 28,672, a vocabulary of
// 128,256, untied.
TEST(Catalogue, TheClassOf70BIsTheSumOfItsShapes) {
  constexpr std::uint64_t kLayer =
      2 * 8192ULL * 8192 + 2 * 8192ULL * 1024 + 3 * 8192ULL * 28'672 + 2ULL * 8192;
  constexpr std::uint64_t kCounted = 80 * kLayer + 2 * 128'256ULL * 8192 + 8192;
  EXPECT_EQ(std::llround(model_class("70B").billions * 1e9), static_cast<long long>(kCounted));
}

}  // namespace
}  // namespace tapedeck::tests
