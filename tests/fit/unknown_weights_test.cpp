// SPDX-License-Identifier: Apache-2.0
// Weights whose sizes are unknown are never taken to be 0 bytes.
#include <gmock/gmock.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "plan/refused.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

const PlanOptions kShort = {.total_context = 512};
const HostBudget kHuge = {.available = std::uint64_t{1} << 60, .limit = "a test"};
const DeviceBudget kHugeDevice = {.free = std::uint64_t{1} << 60, .name = "a device"};

Model without_parameters() {
  Model model = model_of({attention_layer(4, 4, 64, 128)});
  model.shape.parameters.clear();
  return model;
}

PlanOptions with_weights_of(std::uint64_t bytes) {
  PlanOptions options = kShort;
  options.weights_bytes = bytes;
  return options;
}

TEST(UnknownWeights, AreNoFitInAnyBudget) {
  const Model model = without_parameters();
  for (const auto& device : {std::optional<DeviceBudget>(), std::optional(kHugeDevice)}) {
    const auto error = thrown<UnknownWeights>([&] { return fit(model, kShort, kHuge, device); });
    EXPECT_EQ(error.argument(), "PlanOptions::weights_bytes");
    EXPECT_EQ(error.warnings(), make_plan(model, kShort).warnings);
  }
}

TEST(UnknownWeights, FitIfTheirStatedSizeDoes) {
  const Model model = without_parameters();
  const PlanOptions options = with_weights_of(52_GiB);
  const std::uint64_t needed = make_plan(model, options).breakdown().total.value();
  const auto fit_device = [&](std::uint64_t bytes) {
    return fit(model, options, {.available = bytes}, DeviceBudget{.free = bytes});
  };
  std::vector<FitMode> modes;  // those that split layers need the sizes of the layers
  for (const FitChoice& choice : fit_device(needed + 1_MiB)) {
    EXPECT_TRUE(choice.fits());
    EXPECT_GE(choice.device.needed + choice.host.needed, needed);
    EXPECT_FALSE(choice.warnings.empty());
    modes.push_back(choice.mode);
  }
  EXPECT_THAT(modes, ::testing::ElementsAre(FitMode::full_cache, FitMode::host_only));
  EXPECT_THROW(static_cast<void>(fit_device(needed - 1)), NothingFits);
}

TEST(UnknownWeights, AStatedSizeContradictsNothing) {
  PlanOptions both = with_weights_of(1_GiB);
  both.weights_type = DType::q8_0;
  const Refused refusal = {"PlanOptions::weights_bytes", 1_GiB, 0};
  EXPECT_EQ(refused([&] { return make_plan(without_parameters(), both); }), refusal);
}

// Every published configuration: case E22 is one of the models whose weights are not known from it.
TEST(UnknownWeights, OfPublishedConfigsAreNeverAFit) {
  std::vector<std::filesystem::path> files;
  for (const char* name : {"configs", "cases"}) {
    if (!std::filesystem::exists(shared_data(name))) GTEST_SKIP() << "no " << shared_data(name);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(shared_data(name))) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
  }
  std::size_t unknown = 0;
  for (const std::filesystem::path& file : files) {
    SCOPED_TRACE(file);
    Plan plan;
    Model model;
    try {
      model = read_model(file);
      plan = make_plan(model, kShort);
    } catch (const Error&) {
      continue;  // not a config, or a model that cannot be planned
    }
    const Breakdown sums = plan.breakdown();
    EXPECT_EQ(sums.weights.has_value(), !plan.weights.empty());
    EXPECT_EQ(sums.total.has_value(), !plan.weights.empty());
    if (!plan.weights.empty()) continue;
    ++unknown;
    EXPECT_FALSE(plan.exact());
    EXPECT_THROW(static_cast<void>(fit(model, kShort, kHuge)), UnknownWeights);
    const PlanOptions stated = with_weights_of(52_GiB);
    EXPECT_EQ(make_plan(model, stated).breakdown().weights, 52_GiB);
    EXPECT_THROW(static_cast<void>(fit(model, stated, {.available = 4_GiB})), NothingFits);
  }
  EXPECT_GT(files.size(), 50U);
  RecordProperty("unknown", static_cast<int>(unknown));
}

}  // namespace
}  // namespace tapedeck::tests
