/// @file
/// `StreamingStep`: what layer streaming takes on a device, by how many layers stay there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/checked_sizes.hpp"
#include "plan/layer_bytes.hpp"

namespace tapedeck::internal {

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
