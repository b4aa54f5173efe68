// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/tensor_parallel.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "plan/refused.hpp"
#include "plan/shapes.hpp"

namespace tapedeck::tests {
namespace {

/// One layer: 8 query heads, 2 KV heads.
Model one_layer() {
  Model model = model_of({attention_layer(8, 2, 64, 1024)});
  model.shape.parameters = {
      {"embedding", ParameterKind::embedding, 1, 1000, 512, {.part = Part::embedding}},
      {"layers.attention.q", ParameterKind::matrix, 1, 512, 512, {.part = Part::query}},
      {"layers.attention.k", ParameterKind::matrix, 1, 128, 512, {.part = Part::key}},
      {"layers.attention.v", ParameterKind::matrix, 1, 128, 512, {.part = Part::value}},
      {"layers.norm", ParameterKind::norm, 2, 1, 512, {.part = Part::norm}},
      {"layers.ffn.up", ParameterKind::matrix, 1, 1024, 512, {.part = Part::up}},
  };
  return model;
}

TEST(PlanRanks, OneRankIsThePlan) {
  const Breakdown sums = make_plan(one_layer()).breakdown();
  const RankPlan plan = plan_ranks(one_layer(), {}, 1);
  ASSERT_EQ(plan.ranks.size(), 1U);
  EXPECT_EQ(plan.ranks[0].weights, sums.weights);
  EXPECT_EQ(plan.ranks[0].history, sums.history);
  EXPECT_EQ(plan.ranks[0].scratch, sums.scratch);
  EXPECT_EQ(plan.ranks[0].total, sums.total);
  EXPECT_FALSE(plan.replicates_kv_heads);
}

// With two ranks each has its own KV head; with four, pairs of ranks have the same one.
TEST(PlanRanks, ShareWhatCanBeCutAndReplicateKvHeads) {
  const std::uint64_t norms = std::uint64_t{2} * 512 * 2;
  const std::uint64_t kv_head = std::uint64_t{2} * 64 * 512 * 2;  // for K and for V
  for (const std::uint64_t ranks : {2U, 4U}) {
    const RankPlan plan = plan_ranks(one_layer(), {}, ranks);
    ASSERT_EQ(plan.ranks.size(), ranks);
    EXPECT_EQ(plan.replicates_kv_heads, ranks == 4);
    EXPECT_EQ(plan.largest, 0U);
    for (const RankBytes& rank : plan.ranks) {
      EXPECT_EQ(rank.weights, std::uint64_t{1000 + 512 + 1024} * 512 * 2 / ranks + kv_head + norms);
      EXPECT_EQ(rank.kv_heads, 1U);
      EXPECT_EQ(rank.history, 4096 * 2 * 64 * 2);
    }
  }
}

// 8 heads in groups of 4 on 3 ranks: heads 0-1, 2-4, 5-7; the second rank reads both KV heads.
TEST(PlanRanks, NamesTheLargest) {
  const RankPlan plan = plan_ranks(one_layer(), {}, 3);
  EXPECT_EQ(plan.ranks[0].kv_heads, 1U);
  EXPECT_EQ(plan.ranks[1].kv_heads, 2U);
  EXPECT_EQ(plan.ranks[2].kv_heads, 1U);
  EXPECT_EQ(plan.largest, 1U);
  EXPECT_TRUE(plan.replicates_kv_heads);
}

TEST(PlanRanks, LatentRowsAreOnEveryRank) {
  Model model = model_of({latent_layer()});
  model.shape.parameters = {
      {"layers.attention.kv_a", ParameterKind::matrix, 1, 576, 512, {.part = Part::latent}}};
  const RankPlan plan = plan_ranks(model, {}, 4);
  for (const RankBytes& rank : plan.ranks) {
    EXPECT_EQ(rank.history, 4096 * 576 * 2);
    EXPECT_EQ(rank.weights, 576 * 512 * 2);
  }
  EXPECT_FALSE(plan.replicates_kv_heads);
}

TEST(PlanRanks, StatesAreCut) {
  const RankPlan plan = plan_ranks(model_of({mamba2_layer()}), {}, 4);
  const std::uint64_t whole = (std::uint64_t{3} * (3072 + 2 * 128) + std::uint64_t{3072} * 128) * 4;
  for (const RankBytes& rank : plan.ranks) EXPECT_EQ(rank.history, whole / 4);
}

TEST(PlanRanks, LeaveNothingOut) {
  for (std::uint64_t ranks = 1; ranks <= 8; ++ranks) {
    const RankPlan plan = plan_ranks(one_layer(), {.overhead = 100}, ranks);
    std::uint64_t weights = 0;
    std::uint64_t history = 0;
    for (const RankBytes& rank : plan.ranks) {
      weights += rank.weights.value();
      history += rank.history;
      EXPECT_EQ(rank.total, rank.weights.value() + rank.history + rank.scratch + 100);
      EXPECT_LE(rank.total, plan.ranks[plan.largest].total);
    }
    EXPECT_GE(weights, make_plan(one_layer()).weights.payload());
    EXPECT_GE(history, make_plan(one_layer()).history.payload());
  }
}

TEST(PlanRanks, RefusesRanksWithoutHeads) {
  const auto refused_ranks = [](const Model& model, std::uint64_t ranks) {
    return refused([&] { return plan_ranks(model, {}, ranks); });
  };
  EXPECT_EQ(refused_ranks(one_layer(), 0), (Refused{"ranks", 0, 1}));
  EXPECT_EQ(refused_ranks(one_layer(), 9), (Refused{"ranks", 9, 8}));
  EXPECT_EQ(refused_ranks(model_of({mamba2_layer()}), 1'000'000),
            (Refused{"ranks", 1'000'000, 65'536}));
  EXPECT_EQ(plan_ranks(one_layer(), {}, 8).ranks.size(), 8U);
}

}  // namespace
}  // namespace tapedeck::tests
