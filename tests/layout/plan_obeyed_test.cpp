// SPDX-License-Identifier: Apache-2.0
// A layout takes exactly what was planned: for every model in the test data, and for random ones.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/paths.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

// A sanitizer's own mappings leave fewer addresses. ThreadSanitizer leaves 1.5 TiB, and the place
// of the first mapping in them varies by 1 TiB.
constexpr std::uint64_t kMostAddresses = std::uint64_t{1} << (kThreadSanitized ? 38
                                                              : kSanitized     ? 40
                                                                               : 46);

void expect_tape(const Tape& tape, const TapePlan& plan) {
  EXPECT_EQ(tape.used(), plan.bytes());
  for (const Region& region : plan.regions()) {
    EXPECT_LE(region.offset + region.bytes, tape.used()) << region.name;
    const auto at = reinterpret_cast<std::uintptr_t>(tape.data()) + region.offset;
    EXPECT_EQ(at % region.alignment, 0U) << region.name;
  }
}

void expect_layout(Layout& layout) {
  expect_tape(layout.weights(), layout.plan().weights);
  expect_tape(layout.scratch(), layout.plan().scratch);
  for (std::size_t talk = 0; talk < layout.talks(); ++talk) {
    expect_tape(layout.history(talk), layout.plan().history);
  }
}

// Returns false if the plan exceeds what this process can address.
bool obey(const Plan& plan) {
  const std::uint64_t bytes = plan.weights.bytes() + plan.scratch.bytes() + plan.history.bytes();
  if (bytes / kMostAddresses != 0 || plan.talks > kMostAddresses / (bytes + 1)) return false;
  Layout layout(plan, {.commit = Commit::nothing});
  expect_layout(layout);
  layout.clear_pass();
  for (std::size_t talk = 0; talk < layout.talks(); ++talk) {
    layout.talk(talk).prepare(1);
    layout.talk(talk).advance();
    layout.clear_talk(talk);
  }
  expect_layout(layout);
  return true;
}

std::vector<std::filesystem::path> models() {
  std::vector<std::filesystem::path> files;
  for (const char* folder : {"gguf", "safetensors", "configs", "engine_figures", "stories260K"}) {
    for (const auto& entry : std::filesystem::directory_iterator(shared_data(folder))) {
      const std::string extension = entry.path().extension();
      if (extension == ".gguf" || extension == ".safetensors" || extension == ".json" ||
          entry.path().filename() == "stories260K.bin") {
        files.push_back(entry.path());
      }
    }
  }
  return files;
}

TEST(PlanObeyed, ByALayoutOfEveryModelThereIs) {
  if (!std::filesystem::exists(shared_data(""))) GTEST_SKIP() << "no " << shared_data("");
  std::size_t obeyed = 0;
  std::size_t too_large = 0;
  std::size_t without_context = 0;
  for (const std::filesystem::path& file : models()) {
    SCOPED_TRACE(file.string());
    const Model model = read_model(file);
    for (const std::uint64_t sequences : {1U, 3U}) {
      try {
        const std::uint64_t context = model.shape.context == 0 ? 4096 : 0;
        const Plan plan = make_plan(model, {.total_context = context, .sequences = sequences});
        (obey(plan) ? obeyed : too_large) += 1;
      } catch (const InvalidArgument& error) {
        // A model that only has a vocabulary has no layers to plan.
        EXPECT_TRUE(model.shape.layers.empty()) << error.what();
        ++without_context;
      }
    }
  }
  RecordProperty("obeyed", static_cast<int>(obeyed));
  EXPECT_GE(obeyed, 2U * (kThreadSanitized ? 90 : 100))
      << too_large << " too large, " << without_context << " without layers";
  if (!kSanitized) {
    EXPECT_EQ(too_large, 0U);
  }
}

LayerShape random_layer(std::mt19937_64& random) {
  LayerShape layer;
  const auto one_of = [&](std::initializer_list<std::uint64_t> values) {
    return values.begin()[random() % values.size()];
  };
  layer.heads = one_of({1, 2, 8, 12, 32});
  layer.kv_heads = layer.heads;
  layer.key_dim = one_of({8, 64, 80, 128});
  layer.value_dim = one_of({8, 64, 80, 128});
  layer.ffn = one_of({0, 100, 1024});
  switch (random() % 6) {
    case 0:
      layer.attention = Attention::none;
      layer.recurrence = Recurrence::mamba2;
      layer.conv_state = one_of({3, 1000, 4097});
      layer.state = one_of({1, 1000, std::uint64_t{4096} * 3});
      layer.inner = one_of({16, 256});
      break;
    case 1:
      layer.attention = Attention::windowed;
      layer.window = one_of({1, 100, 4096});
      break;
    case 2:
      layer.attention = Attention::latent;
      layer.kv_heads = 1;
      layer.key_dim = 576;
      layer.value_dim = 0;
      break;
    case 3:
      layer.attention = Attention::full;
      layer.shares_cache = true;
      break;
    default:
      layer.attention = Attention::full;
  }
  return layer;
}

TEST(PlanObeyed, ByLayoutsOfRandomShapes) {
  std::mt19937_64 random(20'261'121);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Model model;
    model.shape.architecture = "random";
    model.shape.hidden = 64 + random() % 1000;
    model.shape.vocabulary = 1 + random() % 50'000;
    model.shape.context = 1 + random() % 20'000;
    model.shape.layers.resize(1 + random() % 8);
    for (LayerShape& layer : model.shape.layers) layer = random_layer(random);
    const PlanOptions options{.sequences = 1 + random() % 4,
                              .unified = random() % 4 == 0,
                              .decode_batch = 1 + random() % 9,
                              .micro_batch = 1 + random() % 600,
                              .flash_attention = random() % 2 == 0,
                              .rollback_states = random() % 3};
    const Plan plan = make_plan(model, options);
    EXPECT_TRUE(obey(plan));
  }
}

}  // namespace
}  // namespace tapedeck::tests
