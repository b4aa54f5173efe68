// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/tensor_parallel.hpp"

#include <algorithm>
#include <string>

#include "base/amounts.hpp"
#include "plan/cache_cells.hpp"
#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::CheckedSize;
using internal::fits;

/// The share of one rank in anything that is divided among all ranks.
struct Cut {
  std::uint64_t rank;
  std::uint64_t ranks;

  [[nodiscard]] std::uint64_t begin(std::uint64_t n) const {
    // This is n * rank / ranks, in two terms so that nothing overflows.
    return n / ranks * rank + n % ranks * rank / ranks;
  }
  [[nodiscard]] std::uint64_t end(std::uint64_t n) const { return Cut{rank + 1, ranks}.begin(n); }
  [[nodiscard]] std::uint64_t share_of(std::uint64_t n) const { return end(n) - begin(n); }

  /// Returns how many KV heads this rank's query heads read.
  [[nodiscard]] std::uint64_t kv_heads(const LayerShape& layer) const {
    if (layer.kv_heads == 0 || layer.heads == 0) return layer.kv_heads;
    const std::uint64_t group = std::max<std::uint64_t>(layer.heads / layer.kv_heads, 1);
    const std::uint64_t last = std::min(internal::parts(end(layer.heads), group), layer.kv_heads);
    return last - std::min(begin(layer.heads) / group, last);
  }
};

LayerShape cut_layer(const LayerShape& layer, const Cut& cut) {
  LayerShape out = layer;
  out.heads = cut.share_of(layer.heads);
  if (layer.attention != Attention::latent) out.kv_heads = cut.kv_heads(layer);
  out.inner = cut.share_of(layer.inner);
  out.state = cut.share_of(layer.state);
  // RWKV's token shift works on the residual stream, which is complete on every rank.
  if (layer.recurrence != Recurrence::rwkv) out.conv_state = cut.share_of(layer.conv_state);
  out.ffn = cut.share_of(layer.ffn);
  out.expert_ffn = cut.share_of(layer.expert_ffn);
  out.shared_ffn = cut.share_of(layer.shared_ffn);
  return out;
}

/// Returns true for parts that are complete on every rank.
bool is_whole(Part part) {
  return is_norm(part) || part == Part::router || part == Part::query_low_rank ||
         part == Part::latent;
}

/// Returns the layer whose heads determine a region's rows: the region's own layer if it has one,
/// otherwise the first layer with attention, or nullptr if there is none.
const LayerShape* attention_layer(const ModelShape& shape, const PartId& id) {
  const auto number = id.text_layer();
  if (number && *number < shape.layers.size()) return &shape.layers[*number];
  const auto layer = std::ranges::find_if(
      shape.layers, [](const LayerShape& each) { return each.attention != Attention::none; });
  return layer == shape.layers.end() ? nullptr : &*layer;
}

/// Returns the bytes of `part` out of `whole` equal slices of a tensor, rounded down.
std::uint64_t tensor_slices(std::uint64_t bytes, std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return bytes;
  return fits(CheckedSize(bytes / whole) * part) + fits(CheckedSize(bytes % whole) * part) / whole;
}

std::uint64_t cut_weight(const ModelShape& shape, const Region& region, const Cut& cut) {
  const bool vector = std::ranges::count_if(region.shape, [](auto n) { return n > 1; }) < 2;
  const Part part = region.id.part;
  if (is_whole(part) || (vector && region.id.piece != Piece::scale)) return region.bytes;
  const LayerShape* layer = attention_layer(shape, region.id);
  if (layer != nullptr && layer->attention != Attention::latent && layer->kv_heads != 0) {
    if (part == Part::key || part == Part::value) {
      return tensor_slices(region.bytes, cut.kv_heads(*layer), layer->kv_heads);
    }
    if (part == Part::query_key_value) {
      const std::uint64_t pair = fits(CheckedSize(layer->key_dim) + layer->value_dim);
      const auto width = [&](std::uint64_t heads, std::uint64_t kv_heads) {
        return fits(CheckedSize(heads) * layer->key_dim + CheckedSize(kv_heads) * pair);
      };
      return tensor_slices(region.bytes, width(cut.share_of(layer->heads), cut.kv_heads(*layer)),
                           width(layer->heads, layer->kv_heads));
    }
  }
  return cut.share_of(region.bytes);
}

void check_ranks(const ModelShape& shape, std::uint64_t ranks) {
  constexpr std::uint64_t kMostRanks = 65'536;  // The limit for models without attention.
  internal::require_count("ranks", "ranks", ranks, kMostRanks);
  for (std::size_t i = 0; i < shape.layers.size(); ++i) {
    const LayerShape& layer = shape.layers[i];
    if (layer.attention == Attention::none || layer.heads >= ranks) continue;
    throw InvalidArgument({.argument = "ranks", .value = ranks, .limit = layer.heads},
                          "layer " + std::to_string(i) + " has " +
                              internal::count_of(layer.heads, "query head") + ", too few for " +
                              std::to_string(ranks) + " ranks",
                          "use fewer ranks, since each needs at least one query head");
  }
}

/// Returns the bytes of a rank other than its weights. `part` has the rank's part of the shape.
RankBytes rank_bytes(const Model& part, const PlanOptions& options) {
  const Profile& profile = options.profile;
  const internal::CacheCells cells = profile.plan_cells(part.shape, options);
  Plan plan;  // Without weights: `plan_ranks` cuts those of the whole model.
  plan.history = profile.plan_history(part.shape, options, cells);
  profile.plan_scratch(part, options, cells, plan);
  RankBytes out;
  out.history = fits(CheckedSize(plan.history.payload()) * cells.streams);
  out.scratch = plan.scratch.bytes();
  out.overhead = options.overhead;
  for (const LayerShape& layer : part.shape.layers) {
    if (layer.attention == Attention::none) continue;
    out.kv_heads = std::max(out.kv_heads, layer.kv_heads);
  }
  return out;
}

std::uint64_t rank_weights(const ModelShape& shape, const TapePlan& whole, const Cut& cut) {
  CheckedSize bytes = 0;
  for (const Region& region : whole.regions()) bytes = bytes + cut_weight(shape, region, cut);
  return fits(bytes);
}

}  // namespace

RankPlan plan_ranks(const Model& model, const PlanOptions& options, std::uint64_t ranks) {
  const Plan whole = make_plan(model, options);
  check_ranks(model.shape, ranks);

  const bool cuttable = whole.certainty.weights != Certainty::unknown && options.weights_bytes == 0;
  RankPlan out;
  std::uint64_t most = 0;
  Model part = model;
  for (std::uint64_t rank = 0; rank < ranks; ++rank) {
    const Cut cut{rank, ranks};
    std::ranges::transform(model.shape.layers, part.shape.layers.begin(),
                           [&](const LayerShape& layer) { return cut_layer(layer, cut); });
    part.shape.vocabulary = cut.share_of(model.shape.vocabulary);
    RankBytes bytes = rank_bytes(part, options);
    const CheckedSize beside = CheckedSize(bytes.history) + bytes.scratch + bytes.overhead;
    if (cuttable) {
      bytes.weights = rank_weights(model.shape, whole.weights, cut);
      bytes.total = fits(beside + *bytes.weights);
    }
    out.ranks.push_back(bytes);
    const std::uint64_t held = bytes.total.value_or(fits(beside));
    if (rank != 0 && held <= most) continue;
    most = held;
    out.largest = rank;
  }
  out.replicates_kv_heads = std::ranges::any_of(model.shape.layers, [&](const LayerShape& layer) {
    return layer.attention != Attention::none && layer.attention != Attention::latent &&
           layer.kv_heads % ranks != 0;
  });
  return out;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
