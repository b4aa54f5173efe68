// SPDX-License-Identifier: Apache-2.0
/// @file
/// `LayerBytes`: the bytes of each layer in a model's weights or in a tape's plan. `StreamingStep`:
/// the device memory that layer streaming takes if a given number of layers stay there.
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

/// The bytes of each layer, and of everything that belongs to no layer. Each number includes
/// padding, so that any selection of layers can be placed one after another.
struct LayerBytes {
  struct Layer {
    std::uint64_t bytes = 0;
    std::uint64_t token = 0;  ///< Bytes that one token's step needs, with only the experts it uses.
  };
  std::vector<Layer> layers;
  std::uint64_t rest = 0;  ///< Bytes that belong to no layer.

  /// Returns the bytes of a layer, or 0 if it has none.
  [[nodiscard]] std::uint64_t of_layer(std::size_t layer) const noexcept;
};

/// Sums the regions of each layer, padded to the plan's alignment. A region that holds a part of
/// every layer is divided evenly among the layers that have such a part.
/// @throws InvalidArgument if a sum does not fit in 64 bits.
[[nodiscard]] LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape);
/// Sums the model's own tensors as `lay_out_layers` arranges them on a device.
/// @throws InvalidArgument if a sum does not fit in 64 bits.
[[nodiscard]] LayerBytes bytes_by_layer(const Model& model, const StreamingPlan& plan);

/// Layer streaming with a certain number of layers that stay on the device.
struct StreamingStep {
  /// Bytes of weights on the device: tensors that belong to no layer, layers that stay, and slots.
  CheckedSize device = 0;
  std::uint64_t token_bytes = 0;  ///< Bytes that one token's step copies.

  /// Returns the most tokens per second that the bus can carry; infinity if nothing is copied.
  [[nodiscard]] double ceiling(double bus_bytes_per_second) const noexcept;
};

/// Returns a step for each number of layers that stay, from 0 to all. The step at index n keeps the
/// first n layers. If all layers stay, there are no slots.
[[nodiscard]] std::vector<StreamingStep> streaming_steps(const LayerBytes& weights,
                                                         std::uint64_t slots);

/// Returns the largest number of layers that can stay if weights may take `device_bytes`, or
/// nullopt if none of the steps fits.
[[nodiscard]] std::optional<std::size_t> most_resident(std::span<const StreamingStep> steps,
                                                       std::uint64_t device_bytes);
/// Returns how many layers stay in the step that needs the least device memory. @pre `steps` is not
/// empty.
[[nodiscard]] std::size_t least_device(std::span<const StreamingStep> steps);

}  // namespace tapedeck::internal
