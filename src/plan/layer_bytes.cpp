// SPDX-License-Identifier: Apache-2.0
#include "plan/layer_bytes.hpp"

#include <algorithm>
#include <limits>

#include "plan/sizes.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

/// Appends bytes at their alignment, as a tape does. Nothing overflows, because the parts come from
/// a plan that fits in 64 bits.
void append_bytes(std::uint64_t& end, std::uint64_t bytes, std::uint64_t alignment) {
  end = round_up(end, alignment) + bytes;
}

/// Returns true if a layer has such a part.
bool has_part(const LayerShape& layer, Part part) {
  switch (block_of(part)) {
    case LayerBlock::attention:
      return layer.attention != Attention::none;
    case LayerBlock::ffn:
      return layer.ffn != 0;
    case LayerBlock::experts:
      return layer.experts != 0;
    case LayerBlock::shared_experts:
      return layer.shared_ffn != 0;
    case LayerBlock::recurrent:
      return layer.recurrence != Recurrence::none;
    case LayerBlock::none:
      break;
  }
  return true;
}

/// Returns the bytes of the `used` experts of one token out of `count`, rounded up. If `used` is
/// not known, returns the bytes of all experts.
std::uint64_t experts_share(std::uint64_t bytes, std::uint64_t used, std::uint64_t count) {
  if (used == 0 || used >= count) return bytes;
  return bytes / count * used + parts(fits(CheckedSize(bytes % count) * used), count);
}

/// Returns the shape of a layer, or an empty one if the model's shape does not have the layer.
LayerShape layer_shape(const ModelShape& shape, std::size_t layer) {
  return layer < shape.layers.size() ? shape.layers[layer] : LayerShape{};
}

/// Until all regions have been added, `token` is the sum of the layer's routed experts, without
/// padding.
void add_to_layer(LayerBytes::Layer& to, std::uint64_t bytes, const Region& region) {
  append_bytes(to.bytes, bytes, region.alignment);
  if (is_expert(region.id.part)) to.token += bytes;
}

/// Divides a region of all layers among them. Returns false if it is not such a region or no layer
/// has such a part.
bool share_out(LayerBytes& out, const Region& region, const ModelShape& shape) {
  if (!region.id.every_layer) return false;
  const auto owns = [&](const LayerShape& layer) { return has_part(layer, region.id.part); };
  const auto owners =
      static_cast<std::uint64_t>(std::count_if(shape.layers.begin(), shape.layers.end(), owns));
  if (owners == 0) return false;
  for (std::size_t i = 0; i < shape.layers.size(); ++i) {
    if (owns(shape.layers[i])) add_to_layer(out.layers[i], parts(region.bytes, owners), region);
  }
  return true;
}

std::uint64_t token_bytes(const StreamedLayer& layer, std::uint64_t used) {
  std::uint64_t dense = 0;  // Neither sum overflows, because the layer's extent fits in 64 bits.
  std::uint64_t of_experts = 0;
  std::vector<std::uint32_t> experts;  // Those that the file has, perhaps fewer than it states.
  for (const StreamedPart& part : layer.parts) {
    if (part.expert == StreamedPart::kNoExpert) {
      dense += part.bytes;
    } else {
      of_experts += part.bytes;
      experts.push_back(part.expert);
    }
  }
  std::sort(experts.begin(), experts.end());
  const auto last = std::unique(experts.begin(), experts.end());
  return dense +
         experts_share(of_experts, used, static_cast<std::uint64_t>(last - experts.begin()));
}

}  // namespace

std::uint64_t LayerBytes::of_layer(std::size_t layer) const noexcept {
  return layer < layers.size() ? layers[layer].bytes : 0;
}

LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape) {
  LayerBytes out;
  out.layers.resize(shape.layers.size());
  for (const Region& region : plan.regions()) {
    if (const auto layer = region.id.text_layer()) {
      out.layers.resize(std::max<std::size_t>(out.layers.size(), *layer + 1U));
      add_to_layer(out.layers[*layer], region.bytes, region);
    } else if (!share_out(out, region, shape)) {
      append_bytes(out.rest, region.bytes, region.alignment);
    }
  }
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    auto& [bytes, token] = out.layers[i];
    const LayerShape layer = layer_shape(shape, i);
    bytes = round_up(bytes, plan.alignment());
    token = bytes - token + experts_share(token, layer.experts_used, layer.experts);
  }
  out.rest = round_up(out.rest, plan.alignment());
  return out;
}

LayerBytes bytes_by_layer(const Model& model, const StreamingPlan& plan) {
  LayerBytes out;
  CheckedSize outer = 0;
  for (const std::uint32_t tensor : plan.outer) {
    outer = outer + up_to_multiple(model.tensors.entries()[tensor].bytes, kDeviceAlignment);
  }
  out.rest = fits(outer);
  for (const StreamedLayer& layer : plan.layers) {
    const std::uint64_t used = layer_shape(model.shape, out.layers.size()).experts_used;
    out.layers.push_back({.bytes = layer.bytes, .token = token_bytes(layer, used)});
  }
  return out;
}

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
