#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>

#include "base/paths.hpp"
#include "model/architectures.hpp"
#include "model/gguf.hpp"
#include "model/shapes.hpp"

namespace tapedeck::tests {
namespace {

/// What the engine printed for a header: layers, and MiB turned to elements.
struct Printed {
  std::string_view file;
  Summary kept;
};

std::ostream& operator<<(std::ostream& out, const Printed& printed) { return out << printed.file; }

// llama_cpp_runs.csv: kv_layers, k_mib and v_mib over cells of 2 bytes; kv2_* likewise; r_mib and
// s_mib over 4 bytes. rs_layers counts layers without a state too, so states are not of it.
constexpr std::uint64_t kMiB = 1U << 20U;
const Printed kPrinted[] = {
    {"bert-base", {.full = 12, .dense = 12, .keys = 9'216, .values = 9'216}},  // keeps no cache
    {"command-r7b",
     {.full = 8,
      .windowed = 24,
      .dense = 32,
      .keys = 8'192,
      .values = 8'192,
      .window_keys = 24'576,
      .window_values = 24'576}},
    {"deepseek-v2-lite", {.full = 27, .dense = 1, .experts = 26, .keys = 15'552}},
    {"gemma-2b-mqa", {.full = 18, .dense = 18, .keys = 4'608, .values = 4'608}},
    {"gemma2-9b",
     {.full = 21,
      .windowed = 21,
      .dense = 42,
      .keys = 43'008,
      .values = 43'008,
      .window_keys = 43'008,
      .window_values = 43'008}},
    {"gemma3-1b",
     {.full = 4,
      .windowed = 22,
      .dense = 26,
      .keys = 1'024,
      .values = 1'024,
      .window_keys = 5'632,
      .window_values = 5'632}},
    {"gpt-oss-20b",
     {.full = 12,
      .windowed = 12,
      .experts = 24,
      .keys = 6'144,
      .values = 6'144,
      .window_keys = 6'144,
      .window_values = 6'144}},
    {"gpt2-xl", {.full = 48, .dense = 48, .keys = 76'800, .values = 76'800}},
    {"granite-4-h-tiny",
     {.full = 4,
      .stateful = 36,
      .experts = 40,
      .keys = 2'048,
      .values = 2'048,
      .convolution = 359'424,
      .state = 54 * kMiB / 4}},
    {"llama-7b-mha", {.full = 32, .dense = 32, .keys = 131'072, .values = 131'072}},
    {"llama-8b-gqa", {.full = 32, .dense = 32, .keys = 32'768, .values = 32'768}},
    {"mamba-2.8b", {.stateful = 64, .convolution = 15 * kMiB / 16, .state = 20 * kMiB / 4}},
    {"mixtral-8x7b", {.full = 32, .experts = 32, .keys = 32'768, .values = 32'768}},
    {"nemotron-h-8b",
     {.full = 4,
      .stateful = 24,
      .dense = 24,
      .keys = 4'096,
      .values = 4'096,
      .convolution = 737'280,
      .state = 96 * kMiB / 4}},
    {"qwen2.5-7b", {.full = 28, .dense = 28, .keys = 14'336, .values = 14'336}},
    {"qwen3-30b-a3b", {.full = 48, .experts = 48, .keys = 24'576, .values = 24'576}},
    {"rwkv7-1.5b", {.stateful = 24, .dense = 24, .convolution = 98'304, .state = 12 * kMiB / 4}},
};

class EngineShape : public testing::TestWithParam<Printed> {};

TEST_P(EngineShape, KeepsWhatTheEnginePrinted) {
  const std::filesystem::path path =
      shared_data("engine_figures") / (std::string(GetParam().file) + ".header-only.gguf");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const Model model = model::read_gguf(path);
  const ModelShape shape = gguf_shape(path.string(), model.metadata, model.tensors);
  const Summary kept = summary_of(shape);
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
  EXPECT_TRUE(shape.exact);
  EXPECT_TRUE(shape.warnings.empty());
  EXPECT_EQ(shape.encoder, shape.architecture == "bert");
  // The embedding table has a row for each token.
  EXPECT_EQ(shape.vocabulary, model.tensors.find("token_embd.weight")->dimensions[0]);
  EXPECT_EQ(shape.tied, model.tensors.find("output.weight") == nullptr);
}

INSTANTIATE_TEST_SUITE_P(SharedFiles, EngineShape, testing::ValuesIn(kPrinted));

}  // namespace
}  // namespace tapedeck::tests
