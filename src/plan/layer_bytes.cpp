// SPDX-License-Identifier: Apache-2.0
#include "plan/layer_bytes.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "plan/sizes.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

/// Appends bytes at their alignment, as a tape does. The whole plan fits in 64 bits, and so do its
/// parts before they are rounded up to the strictest alignment.
void append_bytes(std::uint64_t& end, std::uint64_t bytes, std::uint64_t alignment) {
  end = round_up(end, alignment) + bytes;
}

constexpr std::size_t bit_of(LayerBlock block) {
  return std::size_t{1} << static_cast<unsigned>(block);
}

/// The blocks that a layer has, as bits. Every layer has parts of no block.
std::size_t blocks_of(const LayerShape& layer) {
  const auto bit_if = [](bool has, LayerBlock block) { return has ? bit_of(block) : 0; };
  return bit_of(LayerBlock::none) |
         bit_if(layer.attention != Attention::none, LayerBlock::attention) |
         bit_if(layer.ffn != 0, LayerBlock::ffn) | bit_if(layer.experts != 0, LayerBlock::experts) |
         bit_if(layer.shared_ffn != 0, LayerBlock::shared_experts) |
         bit_if(layer.recurrence != Recurrence::none, LayerBlock::recurrent);
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

/// Divides regions of all layers among them. Layers with the same blocks get the same shares, so
/// the time per region does not depend on the number of layers, which may be as large as the number
/// of regions.
class SharedRegions {
 public:
  explicit SharedRegions(const ModelShape& shape) {
    for (const LayerShape& layer : shape.layers) ++kinds_[blocks_of(layer)].layers;
  }

  /// Returns false if it is not a region of all layers, or if no layer has such a part.
  bool add(const Region& region) {
    if (!region.id.every_layer) return false;
    const std::size_t bit = bit_of(block_of(region.id.part));
    std::uint64_t owners = 0;
    for (std::size_t blocks = 0; blocks < kinds_.size(); ++blocks) {
      if ((blocks & bit) != 0) owners += kinds_[blocks].layers;
    }
    if (owners == 0) return false;
    const std::uint64_t share = parts(region.bytes, owners);
    for (std::size_t blocks = 0; blocks < kinds_.size(); ++blocks) {
      if ((blocks & bit) != 0) add_to_layer(kinds_[blocks].share, share, region);
    }
    return true;
  }

  [[nodiscard]] const LayerBytes::Layer& share_of(const LayerShape& layer) const {
    return kinds_[blocks_of(layer)].share;
  }

 private:
  struct Kind {
    std::uint64_t layers = 0;
    LayerBytes::Layer share{};
  };
  std::array<Kind, 2 * bit_of(LayerBlock::recurrent)> kinds_{};  // by the blocks of a layer
};

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
  SharedRegions shared(shape);
  for (const Region& region : plan.regions()) {
    if (const auto layer = region.id.text_layer()) {
      out.layers.resize(std::max<std::size_t>(out.layers.size(), *layer + 1U));
      add_to_layer(out.layers[*layer], region.bytes, region);
    } else if (!shared.add(region)) {
      append_bytes(out.rest, region.bytes, region.alignment);
    }
  }
  const std::uint64_t alignment = plan.alignment();
  for (std::size_t i = 0; i < shape.layers.size(); ++i) {
    const LayerBytes::Layer& share = shared.share_of(shape.layers[i]);
    auto& [bytes, token] = out.layers[i];
    bytes = fits(CheckedSize(up_to_multiple(bytes, alignment)) + share.bytes);
    token += share.token;
  }
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    auto& [bytes, token] = out.layers[i];
    const LayerShape layer = layer_shape(shape, i);
    bytes = up_to_multiple(bytes, alignment);
    token = bytes - token + experts_share(token, layer.experts_used, layer.experts);
  }
  out.rest = up_to_multiple(out.rest, alignment);
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
