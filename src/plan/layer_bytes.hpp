/// @file
/// `LayerBytes`: what of a model's weights, or of a tape's plan, belongs to which layer; and
/// `StreamingStep`: what layer streaming takes on a device, by how many layers stay there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/checked_sizes.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/region.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

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
/// @throws InvalidArgument where it does not fit in 64 bits.
[[nodiscard]] LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape);
/// From a model's own tensors, as `lay_out_layers` puts them on a device.
/// @throws InvalidArgument where it does not fit in 64 bits.
[[nodiscard]] LayerBytes bytes_by_layer(const Model& model, const StreamingPlan& plan);

/// Streaming with some layers that stay.
struct StreamingStep {
  CheckedSize device = 0;         ///< Weights on the device: tensors of no layer, layers that stay,
                                  ///< and slots.
  std::uint64_t token_bytes = 0;  ///< What a token's step copies.

  /// Tokens a second that the bus carries at most; infinite where nothing is copied.
  [[nodiscard]] double ceiling(double bus_bytes_per_second) const noexcept;
};

/// With none, the first one, the first two, … and all layers staying. Of all there are no slots.
[[nodiscard]] std::vector<StreamingStep> streaming_steps(const LayerBytes& weights,
                                                         std::uint64_t slots);

/// How many layers can stay in so many bytes; nothing where there is no room for any step.
[[nodiscard]] std::optional<std::size_t> most_resident(std::span<const StreamingStep> steps,
                                                       std::uint64_t device_bytes);
/// How many stay where the device has to hold least. @pre there are steps.
[[nodiscard]] std::size_t least_device(std::span<const StreamingStep> steps);

}  // namespace tapedeck::internal
