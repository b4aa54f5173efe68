/// @file
/// `LayerBytes`: what of a tape's plan belongs to which layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// Bytes of each layer's regions, and of those of no layer, each with its padding up to the plan's
/// alignment: parts that can be put behind one another in any choice.
struct LayerBytes {
  std::vector<std::uint64_t> layers;
  std::vector<std::uint64_t> experts;  ///< Of each layer, what is routed experts, without padding.
  std::uint64_t rest = 0;

  [[nodiscard]] std::uint64_t largest() const noexcept;
  /// 0 for a layer that has nothing.
  [[nodiscard]] std::uint64_t of(std::size_t layer) const noexcept;
};

/// The layer in a region's name: the first part between dots that is a number. Nothing where there
/// is none, and for towers beside the decoder (vision, audio).
/// "blk.3.attn_q.weight", "model.layers.3.mlp.up_proj.weight", "layers.3.k": 3.
[[nodiscard]] std::optional<std::size_t> layer_of(std::string_view region) noexcept;

/// Whether a region is of routed experts: a part of its name between dots is "experts", or ends in
/// "_exps". Shared experts and routers are called otherwise.
/// "blk.3.ffn_up_exps.weight", "model.layers.3.mlp.experts.17.up_proj.weight", "layers.experts".
[[nodiscard]] bool of_experts(std::string_view region) noexcept;

/// Regions of all layers together are shared out: stacked ones, whose first dimension counts the
/// layers ("wq" of a llama2.c checkpoint), and, evenly among the layers that have such a part,
/// those of a config alone ("layers.ffn.gate").
[[nodiscard]] LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape);

}  // namespace tapedeck::internal
