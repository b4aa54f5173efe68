// SPDX-License-Identifier: Apache-2.0
// The shapes of published models: what their config.json implies, computed by hand as heads × dim ×
// layers, and what an engine printed for their GGUF headers, from its MiB divided by cells of 2
// bytes (K and V) or 4 bytes (states). Both are in published_shapes.tsv, with one row per model.

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/paths.hpp"
#include "model/shapes.hpp"
#include "model/shared_data.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

/// The figures of a summary, with the names of their columns.
std::vector<std::pair<std::string, std::uint64_t>> figures_of(const Summary& summary) {
  return {{"full", summary.full},
          {"windowed", summary.windowed},
          {"stateful", summary.stateful},
          {"dense", summary.dense},
          {"experts", summary.experts},
          {"keys", summary.keys},
          {"values", summary.values},
          {"window_keys", summary.window_keys},
          {"window_values", summary.window_values},
          {"convolution", summary.convolution},
          {"state", summary.state}};
}

/// Checks all models that have a file in this column. Skips the test if the shared files are
/// missing.
void for_each_published(const std::string& column, const std::string& folder,
                        const std::string& ending, const auto& check) {
  if (!std::filesystem::exists(shared_data(folder))) GTEST_SKIP() << "no " << shared_data(folder);
  for (const IndexRow& row : table_of(source_path("model/published_shapes.tsv"), '\t')) {
    if (row.at(column).empty()) continue;
    SCOPED_TRACE(row.at(column) + ": " + row.at("why"));
    const Model model = read_model(shared_data(folder) / (row.at(column) + ending));
    for (const auto& [name, figure] : figures_of(summary_of(model.shape))) {
      EXPECT_EQ(figure, std::stoull(row.at(name))) << name;
    }
    check(model);
  }
}

TEST(PublishedShapes, OfConfigsAreWhatTheirFilesImply) {
  int models = 0;
  for_each_published("config", "configs", ".json", [&](const Model& /*model*/) { ++models; });
  EXPECT_EQ(models, IsSkipped() ? 0 : 35);
}

TEST(PublishedShapes, OfHeadersAreWhatTheEnginePrinted) {
  int models = 0;
  for_each_published("header", "engine_figures", ".header-only.gguf", [&](const Model& model) {
    ++models;
    const ModelShape& shape = model.shape;
    EXPECT_TRUE(model.tensors.truncated());
    EXPECT_TRUE(shape.exact());
    EXPECT_TRUE(shape.warnings.empty());
    EXPECT_EQ(shape.encoder, shape.architecture == "bert");
    // The embedding table has a row for each token.
    EXPECT_EQ(shape.vocabulary, model.tensors.find("token_embd.weight")->dimensions[0]);
    EXPECT_EQ(shape.tied, model.tensors.find("output.weight") == nullptr);
  });
  EXPECT_EQ(models, IsSkipped() ? 0 : 17);
}

}  // namespace
}  // namespace tapedeck::tests
