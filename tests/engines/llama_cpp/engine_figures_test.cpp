// What a real llama.cpp printed at 202 starts, beside what is planned for them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "model/shared_data.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;
constexpr std::size_t kStarts = 202;

std::uint64_t number(const IndexRow& row, const char* column) {
  const std::string& text = row.at(column);
  return text.empty() ? 0 : std::stoull(text);
}

PlanOptions options_of(const IndexRow& row) {
  return {.profile = llama_cpp_profile(),
          .total_context = number(row, "n_ctx"),
          .sequences = number(row, "n_seq_max"),
          .unified = row.at("kv_unified") == "1",
          .batch = number(row, "n_batch"),
          .micro_batch = number(row, "n_ubatch"),
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

// Sum over regions whose names end so, of all talks.
std::uint64_t part(const Plan& plan, RegionRole role, const std::string& ending) {
  std::uint64_t bytes = 0;
  for (const Region& region : plan.history.regions()) {
    if (region.role == role && region.name.ends_with(ending)) bytes += region.bytes;
  }
  return bytes * plan.talks;
}

/// Runs a check over all starts.
class EngineFigures : public ::testing::Test {
 protected:
  void SetUp() override {
    rows_ = table_of(shared_data("engine_figures/llama_cpp_runs.csv"));
    if (rows_.empty()) GTEST_SKIP() << "no engine figures beside this checkout";
    ASSERT_EQ(rows_.size(), kStarts);
  }

  void for_each_start(const auto& check) {
    for (const IndexRow& row : rows_) {
      const std::string& file = row.at("header_file");
      if (!models_.contains(file)) {
        models_.emplace(file, read_model(shared_data("engine_figures") / file));
      }
      SCOPED_TRACE(file + " context " + row.at("n_ctx") + " sequences " + row.at("n_seq_max") +
                   " flash attention " + row.at("flash_attn") + " unified " + row.at("kv_unified") +
                   " " + row.at("type_k") + "," + row.at("type_v"));
      check(row, make_plan(models_.at(file), options_of(row)));
    }
  }

  static void expect_printed(const IndexRow& row, const char* column, std::uint64_t bytes) {
    const std::string& figure = row.at(column);
    EXPECT_EQ(mib(bytes), figure.empty() ? "0.00" : figure) << column;
  }

  std::vector<IndexRow> rows_;
  std::map<std::string, Model> models_;
};

TEST_F(EngineFigures, FullCachesAreEqual) {
  for_each_start([](const IndexRow& row, const Plan& plan) {
    expect_printed(row, "kv_mib", plan.breakdown().kv);
    expect_printed(row, "k_mib", part(plan, RegionRole::kv, ".k"));
    expect_printed(row, "v_mib", part(plan, RegionRole::kv, ".v"));
  });
}

TEST_F(EngineFigures, WindowedCachesAreEqual) {
  for_each_start([](const IndexRow& row, const Plan& plan) {
    expect_printed(row, "kv2_mib", plan.breakdown().window);
    expect_printed(row, "k2_mib", part(plan, RegionRole::window, ".k"));
    expect_printed(row, "v2_mib", part(plan, RegionRole::window, ".v"));
  });
}

TEST_F(EngineFigures, RecurrentStatesAreEqual) {
  for_each_start([](const IndexRow& row, const Plan& plan) {
    expect_printed(row, "rs_mib", plan.breakdown().recurrent);
    expect_printed(row, "r_mib", part(plan, RegionRole::recurrent, ".conv"));
    expect_printed(row, "s_mib", part(plan, RegionRole::recurrent, ".state"));
  });
}

TEST_F(EngineFigures, ModelSizesAreEqual) {
  for_each_start([](const IndexRow& row, const Plan& plan) {
    const auto bytes = static_cast<double>(plan.breakdown().weights);
    const std::string& figure = row.at("file_size");
    const bool gib = figure.ends_with("GiB");
    EXPECT_EQ(printed(bytes / (gib ? kMiB * 1024 : kMiB)) + (gib ? " GiB" : " MiB"), figure);
  });
}

TEST_F(EngineFigures, OutputBuffersAreEqual) {
  for_each_start([](const IndexRow& row, const Plan& plan) {
    expect_printed(row, "output_mib", plan.breakdown().decode);
  });
}

// The issue allows -10 % and +35 %; the spread is printed, and held.
TEST_F(EngineFigures, ComputeBuffersAreNear) {
  std::vector<std::pair<double, std::string>> ratios;
  for_each_start([&](const IndexRow& row, const Plan& plan) {
    const double engine = std::stod(row.at("compute_mib"));
    const double ratio = static_cast<double>(plan.breakdown().prefill) / kMiB / engine;
    ratios.emplace_back(ratio, row.at("name") + ", " + plan.peak_stage);
    EXPECT_GE(ratio, 0.92);
    EXPECT_LE(ratio, 1.04);
    EXPECT_LE(plan.prefill_lower_bound, plan.breakdown().prefill);
  });
  ASSERT_EQ(ratios.size(), kStarts);
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

TEST_F(EngineFigures, AreExact) {
  for_each_start([](const IndexRow&, const Plan& plan) {
    EXPECT_TRUE(plan.exact);
    EXPECT_THAT(plan.warnings, ::testing::IsEmpty());
  });
}

}  // namespace
}  // namespace tapedeck::tests
