/// @file
/// `LayerBytes`: what of a tape's plan belongs to which layer.
#pragma once

#include <cstddef>
#include <cstdint>
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

/// A region that holds a part of every layer is shared out among the layers that have such a part,
/// evenly.
[[nodiscard]] LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape);

}  // namespace tapedeck::internal
