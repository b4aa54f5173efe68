#include "plan/streaming_steps.hpp"

#include <algorithm>
#include <limits>

#include "plan/sizes.hpp"

namespace tapedeck::internal {

double StreamingStep::ceiling(double bus_bytes_per_second) const noexcept {
  if (token_bytes == 0) return std::numeric_limits<double>::infinity();
  return bus_bytes_per_second / static_cast<double>(token_bytes);
}

std::vector<StreamingStep> streaming_steps(const LayerBytes& weights, std::uint64_t slots) {
  const std::vector<LayerBytes::Layer>& layers = weights.layers;
  std::vector<StreamingStep> steps(layers.size() + 1);
  steps[0].device = weights.rest;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    steps[i + 1].device = steps[i].device + layers[i].bytes;
  }
  std::uint64_t largest = 0;
  CheckedSize token = 0;
  for (std::size_t i = layers.size(); i-- > 0;) {
    largest = std::max(largest, layers[i].bytes);
    token = token + layers[i].token;
    steps[i].device = steps[i].device + CheckedSize(largest) * slots;
    steps[i].token_bytes = saturated(token);
  }
  return steps;
}

std::optional<std::size_t> most_resident(std::span<const StreamingStep> steps,
                                         std::uint64_t device_bytes) {
  for (std::size_t i = steps.size(); i-- > 0;) {
    if (saturated(steps[i].device) <= device_bytes) return i;
  }
  return std::nullopt;
}

std::size_t least_device(std::span<const StreamingStep> steps) {
  const auto least = std::ranges::min_element(
      steps, {}, [](const StreamingStep& step) { return saturated(step.device); });
  return static_cast<std::size_t>(least - steps.begin());
}

}  // namespace tapedeck::internal
