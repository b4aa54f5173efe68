/// @file
/// `plan_ranks`: a plan cut into ranks that compute every layer together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What one rank holds, in bytes.
struct RankBytes {
  std::uint64_t weights = 0;
  std::uint64_t history = 0;  ///< All talks.
  std::uint64_t scratch = 0;
  std::uint64_t overhead = 0;  ///< Every rank has a driver context of its own.
  std::uint64_t total = 0;
  std::uint64_t kv_heads = 0;  ///< Of the layer that has most here.
};

/// A plan for several ranks. Thread-safety: a value.
struct RankPlan {
  std::vector<RankBytes> ranks;
  std::size_t largest = 0;  ///< The first rank that holds most: what the smallest device must have.
  /// Some KV heads are on more than one rank, since the ranks do not divide them.
  bool replicates_kv_heads = false;
};

/// Tensor parallelism as Megatron-LM does it: rank r of T has query heads, feed-forward columns (of
/// every expert) and vocabulary rows from r/T to (r+1)/T of them; the KV heads its query heads
/// read; of norms, biases, routers, latent rows and the residual stream it has all.
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
/// @param ranks  1 at least, and no more than any layer has query heads.
/// @throws InvalidArgument as `make_plan`, and for another number of ranks.
[[nodiscard]] RankPlan plan_ranks(const Model& model, const PlanOptions& options,
                                  std::uint64_t ranks);

}  // namespace tapedeck::inline TAPEDECK_ABI
