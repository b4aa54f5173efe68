// SPDX-License-Identifier: Apache-2.0
// Compares plans of layer streaming with the oracle, for random models and for real ones.
#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/paths.hpp"
#include "model/safetensors_bytes.hpp"
#include "os/temp_folder.hpp"
#include "plan/made_tensors.hpp"
#include "plan/streaming_oracle.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

/// Tensors of random sizes at random places, in order in several files, both dense and of experts.
class RandomTensors {
 public:
  explicit RandomTensors(std::uint32_t seed) : random_(seed) {
    const std::uint64_t layers = up_to(9);
    const std::uint64_t experts = up_to(2) == 1 ? 0 : up_to(9);
    Made made(layers, experts, experts == 0 ? 0 : up_to(experts));
    std::uint64_t at = up_to(1000);
    for (std::uint64_t i = up_to(60); i-- > 0;) {
      if (up_to(20) == 1) {
        made.file();
        at = up_to(1000);
      }
      at += gap();
      at += add_tensor(made, i, at, up_to(layers) - 1, experts);
    }
    made.tensor("blk.0.last", at, {1});  // makes the number of layers explicit
    model = made.model();
  }

  Model model;

 private:
  std::uint64_t up_to(std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(1, most)(random_);
  }

  std::uint64_t gap() {
    const std::uint64_t kind = up_to(10);
    return kind <= 5 ? 0 : kind <= 8 ? up_to(300) * 16 : up_to(100);
  }

  std::uint64_t add_tensor(Made& made, std::uint64_t id, std::uint64_t at, std::uint64_t layer,
                           std::uint64_t experts) {
    const std::string number = std::to_string(id);
    const std::string of_layer = "blk." + std::to_string(layer) + ".";
    const std::uint64_t bytes = up_to(200) * (up_to(3) == 1 ? 1 : 16);
    const std::uint64_t kind = up_to(6);
    if (kind == 1) {
      made.tensor("outer" + number, at, {bytes});
    } else if (kind <= 3 && experts != 0) {
      made.tensor(of_layer + number + "t_exps.weight", at, {experts, bytes});
      return experts * bytes;
    } else {
      made.tensor(of_layer + number + "t", at, {bytes});
    }
    return bytes;
  }

  std::mt19937 random_;
};

TEST(StreamingPlanRandom, IsWhatTheOracleSays) {
  std::uint64_t some_stay = 0;
  std::uint64_t runs_go_on = 0;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Model model = RandomTensors(seed).model;
    std::mt19937 dice(seed);
    const std::uint64_t slots = 1 + dice() % 4;
    const StreamingPlan none_stays = plan_streaming(model, {.slots = slots});
    expect_sound(model, none_stays, {.slots = slots});
    for (const StreamedLayer& layer : none_stays.layers) {
      for (const StreamedPart& part : layer.parts) runs_go_on += part.offset % 256 == 0 ? 0 : 1;
    }
    const std::uint64_t most =
        device_bytes_with(model, none_stays, none_stays.layers.size(), slots) +
        none_stays.device.bytes();
    std::uint64_t stayed = 0;
    for (std::uint64_t bytes = 0; bytes < most; bytes += most / 50 + 1) {
      const StreamingOptions options = {.slots = slots, .device_bytes = bytes};
      const auto expected = expected_resident(model, none_stays, bytes, slots);
      if (!expected) {
        EXPECT_EQ(refused_streaming(model, options).value, bytes);
        continue;
      }
      const StreamingPlan plan = plan_streaming(model, options);
      expect_sound(model, plan, options);
      EXPECT_EQ(plan.resident_layers(), *expected);
      EXPECT_GE(plan.resident_layers(), stayed);  // with more memory, at least as many layers stay
      EXPECT_LE(plan.token_bytes, none_stays.token_bytes);
      stayed = plan.resident_layers();
      some_stay += stayed != 0 && plan.slots != 0 ? 1 : 0;
    }
  }
  EXPECT_GE(some_stay, 100U);
  EXPECT_GE(runs_go_on, 1000U);
}

TEST(StreamingPlanRandom, OneByteDecides) {
  for (std::uint32_t seed = 1000; seed < 1200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Model model = RandomTensors(seed).model;
    const StreamingPlan none_stays = plan_streaming(model);
    for (std::size_t stay = 0; stay <= none_stays.layers.size(); ++stay) {
      const std::uint64_t exact = device_bytes_with(model, none_stays, stay, 2);
      EXPECT_GE(plan_streaming(model, {.device_bytes = exact}).resident_layers(), stay);
      const auto with_less = expected_resident(model, none_stays, exact - 1, 2);
      if (!with_less) {
        EXPECT_EQ(refused_streaming(model, {.device_bytes = exact - 1}).limit, exact);
      } else {
        EXPECT_EQ(plan_streaming(model, {.device_bytes = exact - 1}).resident_layers(), *with_less);
      }
    }
  }
}

/// Counts the parts of a layer in real models directly from the names of the tensors.
std::size_t layer_parts(const Model& model, const StreamingPlan& plan, const std::string& prefix) {
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    const std::string begin = prefix + std::to_string(i) + ".";
    for (const StreamedPart& part : plan.layers[i].parts) {
      EXPECT_NE(model.tensors.entries()[part.tensor].name.find(begin), std::string_view::npos);
    }
  }
  for (const std::uint32_t tensor : plan.outer) {
    EXPECT_EQ(model.tensors.entries()[tensor].name.find(prefix), std::string_view::npos);
  }
  std::size_t parts = 0;
  for (const StreamedLayer& layer : plan.layers) parts += layer.parts.size();
  return parts;
}

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << (path)

TEST(StreamingPlanRealModels, EngineFigures) {
  SKIP_WITHOUT(shared_data("engine_figures"));
  int models = 0;
  int of_experts = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shared_data("engine_figures"))) {
    if (entry.path().extension() != ".gguf") continue;
    SCOPED_TRACE(entry.path().filename());
    const Model model = read_model(entry.path());
    const StreamingPlan plan = plan_streaming(model);
    expect_sound(model, plan, {});
    EXPECT_EQ(plan.layers.size(), model.shape.layers.size());
    EXPECT_GT(layer_parts(model, plan, "blk."), plan.layers.size());
    for (std::size_t i = 0; i < plan.layers.size(); ++i) {
      EXPECT_EQ(plan.layers[i].experts, model.shape.layers[i].experts);
      of_experts += plan.layers[i].experts != 0 ? 1 : 0;
    }
    const std::uint64_t half = model.tensors.bytes() / 2;
    const StreamingOptions options = {.slots = 3, .device_bytes = half};
    const StreamingPlan some = plan_streaming(model, options);
    expect_sound(model, some, options);
    EXPECT_EQ(some.resident_layers(), expected_resident(model, plan, half, 3));
    ++models;
  }
  EXPECT_GE(models, 17);
  EXPECT_GE(of_experts, 100);
}

// A token uses 8 of 128 experts, so 16 times less is copied.
TEST(StreamingPlanRealModels, ExpertsOfQwen3) {
  const auto path = shared_data("engine_figures") / "qwen3-30b-a3b.header-only.gguf";
  SKIP_WITHOUT(path);
  const Model model = read_model(path);
  const StreamingPlan plan = plan_streaming(model);
  std::uint64_t experts = 0;
  std::uint64_t others = 0;
  for (const TensorEntry& tensor : model.tensors.entries()) {
    const bool of_layer = tensor.name.starts_with("blk.");
    if (of_layer) {
      (tensor.name.find("_exps.") != std::string_view::npos ? experts : others) += tensor.bytes;
    }
  }
  EXPECT_EQ(plan.token_bytes, others + experts / 16);
  EXPECT_EQ(plan.layers[0].experts, 128U);
}

struct FileWithTensors {
  const char* file;
  const char* prefix;  ///< The prefix of the names of a layer's tensors.
  /// 0 means the number in the shape, which a safetensors file does not state.
  std::size_t layers;
};
constexpr FileWithTensors kFilesWithTensors[] = {
    {"gguf/stories260K.gguf", "blk.", 0},
    {"gguf/stories260K-F16.gguf", "blk.", 0},
    {"gguf/stories260K-Q4_K_M.gguf", "blk.", 0},
    {"gguf/tinyllamas-stories-260k-f32.v1.gguf", "blk.", 0},
    {"gguf/llama-2-tiny-random.gguf", "blk.", 0},
    {"gguf/llama-2-7b-chat-Q4_0.header-only.gguf", "blk.", 0},
    {"safetensors/ollama-minicpm3-tiny.safetensors", "layers.", 1},
    {"safetensors/nutllm-tiny.safetensors", "layers.", 2},
};

TEST(StreamingPlanRealModels, FilesWithTensors) {
  SKIP_WITHOUT(shared_data("gguf"));
  for (const auto& [file, prefix, layers] : kFilesWithTensors) {
    SCOPED_TRACE(file);
    const Model model = read_model(shared_data(file));
    const StreamingPlan plan = plan_streaming(model);
    expect_sound(model, plan, {});
    EXPECT_EQ(plan.layers.size(), layers != 0 ? layers : model.shape.layers.size());
    EXPECT_GT(layer_parts(model, plan, prefix), plan.layers.size());
  }
}

TEST(StreamingPlanRealModels, Stories260K) {
  const auto path = shared_data("stories260K") / "stories260K.bin";
  SKIP_WITHOUT(path);
  const Model model = read_model(path);
  ASSERT_EQ(model.shape.layers.size(), 5U);
  const StreamingPlan plan = plan_streaming(model);
  expect_sound(model, plan, {});
  // dim 64, ffn 172, 8 heads and 4 KV heads: attention, feed-forward and two norms, in f32.
  constexpr std::uint64_t kElements = 8192 + 4096 + 33'024 + 128;
  constexpr std::uint64_t kLayer = kElements * 4;
  EXPECT_EQ(plan.token_bytes, 5 * kLayer);
  for (const StreamedLayer& layer : plan.layers) EXPECT_EQ(layer.parts.size(), 9U);
  const std::uint64_t two = device_bytes_with(model, plan, 2, 2);
  EXPECT_EQ(plan_streaming(model, {.device_bytes = two}).resident_layers(), 2U);
  EXPECT_EQ(plan_streaming(model, {.device_bytes = two - 1}).resident_layers(), 1U);
}

TEST(StreamingModels, DraftLayersBehindTheOthersAreInNoSlot) {
  constexpr std::uint64_t kBytes = std::uint64_t{128} * 64;
  const TempFolder folder;
  folder.write("config.json",
               R"({"model_type": "glm4_moe", "hidden_size": 64, "intermediate_size": 128,
                   "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                   "vocab_size": 512, "num_nextn_predict_layers": 1})");
  std::string header;
  for (std::uint64_t i = 0; i < 3; ++i) {
    header += (i == 0 ? "{" : ",") +
              tensor_json("model.layers." + std::to_string(i) + ".mlp.up_proj.weight", "U8",
                          "128,64", i * kBytes, (i + 1) * kBytes);
  }
  folder.write("model.safetensors", safetensors(header + "}", 3 * kBytes));
  const Model model = read_model(folder.path());
  EXPECT_EQ(model.tensors.entries()[2].id,
            (PartId{.layer = 0, .part = Part::up, .tower = Tower::draft}));
  EXPECT_EQ(plan_streaming(model).layers.size(), 2U);
}

}  // namespace
}  // namespace tapedeck::tests
