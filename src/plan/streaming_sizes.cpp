#include "plan/streaming_sizes.hpp"

#include <algorithm>
#include <limits>

#include "plan/sizes.hpp"

namespace tapedeck::internal {
namespace {

/// What a token uses of experts: `used` of `count`, rounded up. Where nothing says how many, all.
std::uint64_t experts_share(std::uint64_t bytes, std::uint64_t used, std::uint64_t count) {
  if (used == 0 || used >= count) return bytes;
  return bytes / count * used + parts(fits(CheckedSize(bytes % count) * used), count);
}

std::uint64_t used_experts(const ModelShape& shape, std::size_t layer) {
  return layer < shape.layers.size() ? shape.layers[layer].experts_used : 0;
}

/// Experts that really are there: a file may hold fewer than it states.
std::uint64_t count_experts(const StreamedLayer& layer) {
  std::vector<std::uint32_t> experts;
  for (const StreamedPart& part : layer.parts) {
    if (part.expert != StreamedPart::kNoExpert) experts.push_back(part.expert);
  }
  std::sort(experts.begin(), experts.end());
  return static_cast<std::uint64_t>(std::unique(experts.begin(), experts.end()) - experts.begin());
}

std::uint64_t token_bytes(const StreamedLayer& layer, std::uint64_t used) {
  std::uint64_t dense = 0;  // sums of parts of an extent that fits
  std::uint64_t experts = 0;
  for (const StreamedPart& part : layer.parts) {
    (part.expert == StreamedPart::kNoExpert ? dense : experts) += part.bytes;
  }
  return dense + experts_share(experts, used, count_experts(layer));
}

// What does not fit in 64 bits fits on no device, and in no second either.
std::uint64_t saturated(const CheckedSize& size) {
  return size.value().value_or(std::numeric_limits<std::uint64_t>::max());
}

}  // namespace

StreamingSizes streaming_sizes(const Model& model, const StreamingLayers& layers) {
  StreamingSizes out;
  CheckedSize outer = 0;
  for (const std::uint32_t tensor : layers.outer) {
    outer = outer + up_to_multiple(model.tensors.entries()[tensor].bytes, kDeviceAlignment);
  }
  out.outer = fits(outer);
  out.layers.reserve(layers.layers.size());
  for (std::size_t i = 0; i < layers.layers.size(); ++i) {
    const StreamedLayer& layer = layers.layers[i];
    out.layers.push_back(
        {.bytes = layer.bytes, .token = token_bytes(layer, used_experts(model.shape, i))});
  }
  return out;
}

StreamingSizes streaming_sizes(const ModelShape& shape, const LayerBytes& weights) {
  StreamingSizes out = {.layers = {}, .outer = weights.rest};
  out.layers.reserve(weights.layers.size());
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const std::uint64_t experts = weights.experts[i];
    const std::uint64_t count = i < shape.layers.size() ? shape.layers[i].experts : 0;
    out.layers.push_back({.bytes = weights.layers[i],
                          .token = weights.layers[i] - experts +
                                   experts_share(experts, used_experts(shape, i), count)});
  }
  return out;
}

double StreamingStep::ceiling(double bus_bytes_per_second) const noexcept {
  if (token_bytes == 0) return std::numeric_limits<double>::infinity();
  return bus_bytes_per_second / static_cast<double>(token_bytes);
}

std::vector<StreamingStep> streaming_steps(const StreamingSizes& sizes, std::uint64_t slots) {
  std::vector<StreamingStep> steps(sizes.layers.size() + 1);
  CheckedSize resident = sizes.outer;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    steps[i].device = resident;
    if (i < sizes.layers.size()) resident = resident + sizes.layers[i].bytes;
  }
  std::uint64_t largest = 0;
  CheckedSize token = 0;
  for (std::size_t i = sizes.layers.size(); i-- > 0;) {
    largest = std::max(largest, sizes.layers[i].bytes);
    token = token + sizes.layers[i].token;
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
  const auto least = std::min_element(steps.begin(), steps.end(),
                                      [](const StreamingStep& a, const StreamingStep& b) {
                                        return saturated(a.device) < saturated(b.device);
                                      });
  return static_cast<std::size_t>(least - steps.begin());
}

}  // namespace tapedeck::internal
