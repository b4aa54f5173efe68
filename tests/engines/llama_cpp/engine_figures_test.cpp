// SPDX-License-Identifier: Apache-2.0
// Compares what a real llama.cpp printed in 202 starts with the plans for them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/shared_data.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;
constexpr std::size_t kStarts = 202;

std::uint64_t number_in(const IndexRow& row, const char* column) {
  const std::string& text = row.at(column);
  return text.empty() ? 0 : std::stoull(text);
}

PlanOptions options_of(const IndexRow& row) {
  return {.profile = llama_cpp_profile(),
          .total_context = number_in(row, "n_ctx"),
          .sequences = number_in(row, "n_seq_max"),
          .unified = row.at("kv_unified") == "1",
          .batch = number_in(row, "n_batch"),
          .micro_batch = number_in(row, "n_ubatch"),
          .key_type = *dtype_from_name(row.at("type_k")),
          .value_type = *dtype_from_name(row.at("type_v")),
          .flash_attention = row.at("flash_attn") == "1",
          .full_window_cache = row.at("swa_full") == "1"};
}

std::string printed(double figure) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f", figure);
  return text;
}

std::string mib(std::uint64_t bytes) { return printed(static_cast<double>(bytes) / kMiB); }

// The sum over the regions of all talks whose names end with `ending`.
std::uint64_t part(const Plan& plan, RegionRole role, const std::string& ending) {
  std::uint64_t bytes = 0;
  for (const Region& region : plan.history.regions()) {
    if (region.role == role && region.name.ends_with(ending)) bytes += region.bytes;
  }
  return bytes * plan.talks;
}

/// One start: what was printed, and its plan.
struct Start {
  IndexRow row;
  Plan plan;
};

class EngineFigures : public ::testing::Test {
 protected:
  void SetUp() override {
    std::map<std::string, Model> models;
    for (const IndexRow& row : table_of(shared_data("engine_figures/llama_cpp_runs.csv"))) {
      const std::string& file = row.at("header_file");
      if (!models.contains(file)) models[file] = read_model(shared_data("engine_figures") / file);
      starts_.push_back({row, make_plan(models.at(file), options_of(row))});
    }
    if (starts_.empty()) GTEST_SKIP() << "no engine figures beside this checkout";
    ASSERT_EQ(starts_.size(), kStarts);
  }

  std::vector<Start> starts_;
};

TEST_F(EngineFigures, AreWhatIsPlanned) {
  for (const auto& [row, plan] : starts_) {
    const Breakdown sums = plan.breakdown();
    const std::pair<const char*, std::uint64_t> figures[] = {
        {"kv_mib", sums.kv},
        {"k_mib", part(plan, RegionRole::kv, ".k")},
        {"v_mib", part(plan, RegionRole::kv, ".v")},
        {"kv2_mib", sums.window},
        {"k2_mib", part(plan, RegionRole::window, ".k")},
        {"v2_mib", part(plan, RegionRole::window, ".v")},
        {"rs_mib", sums.recurrent},
        {"r_mib", part(plan, RegionRole::recurrent, ".conv")},
        {"s_mib", part(plan, RegionRole::recurrent, ".state")},
        {"output_mib", sums.decode},
    };
    SCOPED_TRACE(row.at("header_file") + " context " + row.at("n_ctx") + " sequences " +
                 row.at("n_seq_max") + " flash attention " + row.at("flash_attn") + " unified " +
                 row.at("kv_unified") + " " + row.at("type_k") + "," + row.at("type_v"));
    for (const auto& [column, bytes] : figures) {
      const std::string& figure = row.at(column);
      EXPECT_EQ(mib(bytes), figure.empty() ? "0.00" : figure) << column;
    }
    const std::string& size = row.at("file_size");
    const bool gib = size.ends_with("GiB");
    const double unit = gib ? kMiB * 1024 : kMiB;
    EXPECT_EQ(printed(static_cast<double>(sums.weights.value()) / unit) + (gib ? " GiB" : " MiB"),
              size);
    EXPECT_TRUE(plan.exact());
    // Some of these starts exceed the context that the model was made for.
    EXPECT_THAT(plan.warnings, ::testing::Each(::testing::HasSubstr(" is longer than the ")));
  }
}

// The requirement allows -10 % to +35 %; the actual spread is printed and checked.
TEST_F(EngineFigures, ComputeBuffersAreNear) {
  std::vector<std::pair<double, std::string>> ratios;
  for (const auto& [row, plan] : starts_) {
    const double engine = std::stod(row.at("compute_mib"));
    const double ratio = static_cast<double>(plan.breakdown().prefill) / kMiB / engine;
    ratios.emplace_back(ratio, row.at("name") + ", " + plan.peak_stage);
    EXPECT_GE(ratio, 0.92) << ratios.back().second;
    EXPECT_LE(ratio, 1.04) << ratios.back().second;
    EXPECT_LE(plan.prefill_lower_bound, plan.breakdown().prefill);
  }
  std::sort(ratios.begin(), ratios.end());
  const auto within = std::count_if(ratios.begin(), ratios.end(), [](const auto& each) {
    return std::abs(each.first - 1) < 0.02;
  });
  std::printf(
      "planned / engine: least %.4f (%s), median %.4f, largest %.4f (%s); %td within 2 %%\n",
      ratios.front().first, ratios.front().second.c_str(), ratios[kStarts / 2].first,
      ratios.back().first, ratios.back().second.c_str(), within);
  EXPECT_GE(within, 175);
}

}  // namespace
}  // namespace tapedeck::tests
