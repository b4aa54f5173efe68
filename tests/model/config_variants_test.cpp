#include <gtest/gtest.h>

#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>

#include "base/paths.hpp"
#include "model/architectures.hpp"
#include "model/json_config.hpp"
#include "model/shapes.hpp"

namespace tapedeck::tests {
namespace {

/// A variant of the shared files' README, and what is kept of it.
struct Variant {
  std::string_view file;
  Summary kept;
};

std::ostream& operator<<(std::ostream& out, const Variant& variant) { return out << variant.file; }

// Figures reckoned by hand from the files: heads × dim × layers.
const Variant kVariants[] = {
    {"01-ai--Yi-34B.json", {.full = 60, .dense = 60, .keys = 61'440, .values = 61'440}},
    // Keys absent: the library's defaults.
    {"google--gemma-3-4b-it.json",
     {.full = 5,
      .windowed = 29,
      .dense = 34,
      .keys = 5'120,
      .values = 5'120,
      .window_keys = 29'696,
      .window_values = 29'696}},
    {"Qwen--Qwen2-Audio-7B-Instruct.json",
     {.full = 32, .dense = 32, .keys = 131'072, .values = 131'072}},
    // Other names, and KV heads of many kinds.
    {"openai-community--gpt2.json", {.full = 12, .dense = 12, .keys = 9'216, .values = 9'216}},
    {"WizardLM--WizardCoder-15B-V1.0.json",
     {.full = 40, .dense = 40, .keys = 5'120, .values = 5'120}},
    {"tiiuae--falcon-40b.json", {.full = 60, .dense = 60, .keys = 30'720, .values = 30'720}},
    {"THUDM--glm-4-9b.json", {.full = 40, .dense = 40, .keys = 10'240, .values = 10'240}},
    {"mosaicml--mpt-7b.json", {.full = 32, .dense = 32, .keys = 131'072, .values = 131'072}},
    // head_dim × heads is not the hidden width; nor is it hidden / heads.
    {"mistralai--Mistral-Small-24B-Instruct-2501.json",
     {.full = 40, .dense = 40, .keys = 40'960, .values = 40'960}},
    {"Qwen--Qwen3-30B-A3B.json", {.full = 48, .experts = 48, .keys = 24'576, .values = 24'576}},
    // Windows: all layers, switched off, larger than the context, alternating, by period, listed.
    {"mistralai--Mistral-7B-v0.1.json",
     {.windowed = 32, .dense = 32, .window_keys = 32'768, .window_values = 32'768}},
    {"Qwen--Qwen2.5-0.5B.json", {.full = 24, .dense = 24, .keys = 3'072, .values = 3'072}},
    {"microsoft--Phi-3.5-mini-instruct.json",
     {.full = 32, .dense = 32, .keys = 98'304, .values = 98'304}},
    {"google--gemma-2-2b.json",
     {.full = 13,
      .windowed = 13,
      .dense = 26,
      .keys = 13'312,
      .values = 13'312,
      .window_keys = 13'312,
      .window_values = 13'312}},
    {"google--gemma-3-1b-it.json",
     {.full = 4,
      .windowed = 22,
      .dense = 26,
      .keys = 1'024,
      .values = 1'024,
      .window_keys = 5'632,
      .window_values = 5'632}},
    {"openai--gpt-oss-20b.json",
     {.full = 12,
      .windowed = 12,
      .experts = 24,
      .keys = 6'144,
      .values = 6'144,
      .window_keys = 6'144,
      .window_values = 6'144}},
    {"allenai--Olmo-3.1-32B-Instruct.json",
     {.full = 16,
      .windowed = 48,
      .dense = 64,
      .keys = 16'384,
      .values = 16'384,
      .window_keys = 49'152,
      .window_values = 49'152}},
    {"meta-llama--Llama-4-Scout-17B-16E-Instruct.json",
     {.full = 12,
      .windowed = 36,
      .experts = 48,
      .keys = 12'288,
      .values = 12'288,
      .window_keys = 36'864,
      .window_values = 36'864}},
    // Other heads and sizes in the windowed layers.
    {"XiaomiMiMo--MiMo-V2-Flash.json",
     {.full = 9,
      .windowed = 39,
      .dense = 1,
      .experts = 47,
      .keys = 9ULL * 4 * 192,
      .values = 9ULL * 4 * 128,
      .window_keys = 39ULL * 8 * 192,
      .window_values = 39ULL * 8 * 128}},
    {"google--gemma-4-E2B-it.json",
     {.full = 7,
      .windowed = 28,
      .dense = 35,
      .keys = 7ULL * 512,
      .values = 7ULL * 512,
      .window_keys = 28ULL * 256,
      .window_values = 28ULL * 256}},
    // MLA: one row of kv_lora_rank + rope; MiniCPM3 keeps whole K and V.
    {"deepseek-ai--DeepSeek-V2-Lite.json",
     {.full = 27, .dense = 1, .experts = 26, .keys = 27ULL * 576}},
    {"deepseek-ai--DeepSeek-V3.json", {.full = 61, .dense = 3, .experts = 58, .keys = 61ULL * 576}},
    {"moonshotai--Kimi-K2-Instruct.json",
     {.full = 61, .dense = 1, .experts = 60, .keys = 61ULL * 576}},
    {"openbmb--MiniCPM3-4B.json",
     {.full = 62, .dense = 62, .keys = 62ULL * 40 * 96, .values = 62ULL * 40 * 64}},
    // Experts in some layers.
    {"zai-org--GLM-4.5.json",
     {.full = 92, .dense = 3, .experts = 89, .keys = 94'208, .values = 94'208}},
    // Hybrids: by a pattern string, by lists, by period and offset.
    {"nvidia--Nemotron-H-56B-Base-8K.json",
     {.full = 10,
      .stateful = 54,
      .dense = 54,
      .keys = 10'240,
      .values = 10'240,
      .convolution = 54ULL * 3 * (16'384 + 2ULL * 8 * 256),
      .state = 54ULL * 16'384 * 256}},
    {"nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.json",
     {.full = 6,
      .stateful = 23,
      .experts = 23,
      .keys = 1'536,
      .values = 1'536,
      .convolution = 23ULL * 3 * (4'096 + 2ULL * 8 * 128),
      .state = 23ULL * 4'096 * 128}},
    {"LiquidAI--LFM2.5-VL-1.6B.json",
     {.full = 6,
      .stateful = 10,
      .dense = 16,
      .keys = 3'072,
      .values = 3'072,
      .convolution = 10ULL * 2'048 * 2}},
    {"Qwen--Qwen3.5-27B.json",
     {.full = 16,
      .stateful = 48,
      .dense = 64,
      .keys = 16'384,
      .values = 16'384,
      .convolution = 48ULL * 3 * (48ULL * 128 + 2ULL * 16 * 128),
      .state = 48ULL * 48 * 128 * 128}},
    {"ai21labs--Jamba-reduced4.json",
     {.full = 1,
      .stateful = 3,
      .dense = 2,
      .experts = 2,
      .keys = 2'048,
      .values = 2'048,
      .convolution = 0,
      .state = 3ULL * 4'096 * 4}},
    {"moonshotai--Kimi-K3.json",
     {.full = 24,
      .stateful = 69,
      .dense = 1,
      .experts = 92,
      .keys = 24ULL * 576,
      .convolution = 69ULL * 3 * 3 * 96 * 128,
      .state = 69ULL * 96 * 128 * 128}},
    // No attention at all.
    {"fla-org--mamba_1B.json",
     {.stateful = 48, .convolution = 48ULL * 3 * 4'096, .state = 48ULL * 4'096 * 16}},
    {"fla-org--mamba2_1B.json",
     {.stateful = 48,
      .convolution = 48ULL * 3 * (4'096 + 2ULL * 128),
      .state = 48ULL * 4'096 * 128}},
    {"fla-org--gated_deltanet_1B.json",
     {.stateful = 21,
      .dense = 21,
      .convolution = 21ULL * 3 * (2ULL * 1'536 + 3'072),
      .state = 21ULL * 6 * 256 * 512}},
    // Blocks of which some have no attention.
    {"nvidia--Llama-3_3-Nemotron-Super-49B-v1.json",
     {.full = 49, .dense = 80, .keys = 50'176, .values = 50'176}},
};

class ConfigVariant : public testing::TestWithParam<Variant> {};

TEST_P(ConfigVariant, KeepsWhatItsFileImplies) {
  const std::string file(GetParam().file);
  const std::filesystem::path path = shared_data("configs") / file;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const Summary kept = summary_of(config_shape(path.string(), model::read_json_config(path)));
  const Summary& expected = GetParam().kept;
  EXPECT_EQ(kept.full, expected.full);
  EXPECT_EQ(kept.windowed, expected.windowed);
  EXPECT_EQ(kept.stateful, expected.stateful);
  EXPECT_EQ(kept.dense, expected.dense);
  EXPECT_EQ(kept.experts, expected.experts);
  EXPECT_EQ(kept.keys, expected.keys);
  EXPECT_EQ(kept.values, expected.values);
  EXPECT_EQ(kept.window_keys, expected.window_keys);
  EXPECT_EQ(kept.window_values, expected.window_values);
  EXPECT_EQ(kept.convolution, expected.convolution);
  EXPECT_EQ(kept.state, expected.state);
}

INSTANTIATE_TEST_SUITE_P(SharedFiles, ConfigVariant, testing::ValuesIn(kVariants));

}  // namespace
}  // namespace tapedeck::tests
