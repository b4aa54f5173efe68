// SPDX-License-Identifier: Apache-2.0
/// @file
/// `plan_ranks`: divides a plan among ranks that compute every layer together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What one rank holds, in bytes. Foreign memory is left out: it is the host's.
struct RankBytes {
  /// `nullopt` if the sizes of the tensors are unknown, even if that of all weights was stated.
  std::optional<std::uint64_t> weights{};
  std::uint64_t history = 0;  ///< Of all talks.
  std::uint64_t scratch = 0;
  std::uint64_t overhead = 0;            ///< Every rank has its own driver context.
  std::optional<std::uint64_t> total{};  ///< `nullopt` if `weights` is.
  std::uint64_t kv_heads = 0;            ///< KV heads of the layer that has the most here.
};

/// A plan for several ranks. Thread-safety: a value.
struct RankPlan {
  std::vector<RankBytes> ranks;
  std::size_t largest = 0;  ///< The first rank with the largest total, which a device must hold.
  /// True if some KV heads are on more than one rank because they cannot be divided evenly.
  bool replicates_kv_heads = false;
};

/// Plans tensor parallelism as Megatron-LM does it. Rank r of T holds the fraction from r/T to
/// (r+1)/T of the query heads, the feed-forward columns (of every expert) and the vocabulary rows.
/// It also holds the KV heads that its query heads read. Norms, biases, routers, latent rows and
/// the residual stream are complete on every rank.
/// @code{.cpp}
/// using namespace tapedeck;
/// Model model;
/// model.shape.hidden = 512;
/// model.shape.vocabulary = 1000;
/// model.shape.context = 4096;
/// model.shape.layers.assign(2, {.attention = Attention::full,
///                               .heads = 8, .kv_heads = 2, .key_dim = 64, .value_dim = 64,
///                               .ffn = 1024});
/// const RankPlan plan = plan_ranks(model, {}, 4);
/// assert(plan.replicates_kv_heads);  // two KV heads, four ranks
/// assert(plan.ranks[0].history == 2 * 2 * 4096 * 64 * 2);  // layers, K and V, tokens, one head
/// @endcode
/// @param ranks  at least 1, and not more than the query heads of any layer.
/// @throws InvalidArgument in the cases of `make_plan`, and for any other number of ranks.
[[nodiscard]] RankPlan plan_ranks(const Model& model, const PlanOptions& options,
                                  std::uint64_t ranks);

}  // namespace tapedeck::inline TAPEDECK_ABI
