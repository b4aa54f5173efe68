#include "plan/layer_bytes.hpp"

#include <algorithm>

#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

/// Puts bytes behind others, as a tape does. The whole plan fits in 64 bits, and so do its parts.
void put(std::uint64_t& end, std::uint64_t bytes, std::uint64_t alignment) {
  end = round_up(end, alignment) + bytes;
}

/// Puts bytes of a region into a layer.
void put(LayerBytes& out, std::size_t layer, std::uint64_t bytes, const Region& region) {
  put(out.layers[layer], bytes, region.alignment);
  if (is_expert(region.id.part)) out.experts[layer] += bytes;
}

/// Whether a layer has a part.
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
      return true;
  }
  return true;
}

/// Shares a region of all layers out. False where it is none, or no layer has such a part.
bool share_out(LayerBytes& out, const Region& region, const ModelShape& shape) {
  if (!region.id.every_layer) return false;
  const auto owns = [&](const LayerShape& layer) { return has_part(layer, region.id.part); };
  const auto owners =
      static_cast<std::uint64_t>(std::count_if(shape.layers.begin(), shape.layers.end(), owns));
  if (owners == 0) return false;
  const std::uint64_t share = region.bytes / owners + (region.bytes % owners == 0 ? 0U : 1U);
  for (std::size_t i = 0; i < shape.layers.size(); ++i) {
    if (owns(shape.layers[i])) put(out, i, share, region);
  }
  return true;
}

}  // namespace

std::uint64_t LayerBytes::largest() const noexcept {
  return layers.empty() ? 0 : *std::max_element(layers.begin(), layers.end());
}

std::uint64_t LayerBytes::of(std::size_t layer) const noexcept {
  return layer < layers.size() ? layers[layer] : 0;
}

LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape) {
  LayerBytes out = {.layers = std::vector<std::uint64_t>(shape.layers.size()),
                    .experts = std::vector<std::uint64_t>(shape.layers.size())};
  for (const Region& region : plan.regions()) {
    const auto layer = region.id.text_layer();
    if (layer) {
      out.layers.resize(std::max<std::size_t>(out.layers.size(), *layer + 1U));
      out.experts.resize(out.layers.size());
      put(out, *layer, region.bytes, region);
    } else if (!share_out(out, region, shape)) {
      put(out.rest, region.bytes, region.alignment);
    }
  }
  for (std::uint64_t& bytes : out.layers) bytes = round_up(bytes, plan.alignment());
  out.rest = round_up(out.rest, plan.alignment());
  return out;
}

}  // namespace tapedeck::internal
