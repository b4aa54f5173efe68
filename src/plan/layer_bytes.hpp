/// @file
/// `LayerBytes`: what of a model's weights, or of a tape's plan, belongs to which layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan/streaming_layers.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// Bytes of each layer, and of what is of no layer, each with its padding: parts that can be put
/// behind one another in any choice.
struct LayerBytes {
  struct Layer {
    std::uint64_t bytes = 0;
    std::uint64_t token = 0;  ///< What a token's step needs: of routed experts, those that it uses.
  };
  std::vector<Layer> layers;
  std::uint64_t rest = 0;

  /// 0 for a layer that has nothing.
  [[nodiscard]] std::uint64_t of_layer(std::size_t layer) const noexcept;
};

/// A region that holds a part of every layer is shared out among the layers that have such a part,
/// evenly. Padding is up to the plan's alignment.
[[nodiscard]] LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape);
/// From a model's own tensors, as `lay_out_layers` puts them on a device.
/// @throws InvalidArgument where it does not fit in 64 bits.
[[nodiscard]] LayerBytes bytes_by_layer(const Model& model, const StreamingPlan& plan);

}  // namespace tapedeck::internal
