#include "plan/layer_bytes.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::size_t kMostLayers = 65'536;  // a name can claim any number

/// Puts bytes behind others, as a tape does. The whole plan fits in 64 bits, and so do its parts.
void put(std::uint64_t& end, std::uint64_t bytes, std::uint64_t alignment) {
  end = round_up(end, alignment) + bytes;
}

/// Puts bytes of a region into a layer.
void put(LayerBytes& out, std::size_t layer, std::uint64_t bytes, const Region& region) {
  put(out.layers[layer], bytes, region.alignment);
  if (of_experts(region.name)) out.experts[layer] += bytes;
}

bool contains(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

/// Whether a layer has the part that a region of all layers names.
bool has_part(const LayerShape& layer, std::string_view region) {
  if (contains(region, "shared")) return layer.shared_ffn != 0;
  if (contains(region, "expert") || contains(region, "router")) return layer.experts != 0;
  if (contains(region, "ffn")) return layer.ffn != 0;
  if (contains(region, "att")) return layer.attention != Attention::none;
  if (contains(region, "state") || contains(region, "conv") || contains(region, "ssm") ||
      contains(region, "recurren")) {
    return layer.recurrence != Recurrence::none;
  }
  return true;
}

/// Whether a region holds a part of every layer, stacked: "wq" of a llama2.c checkpoint.
bool stacked(const Region& region, const ModelShape& shape) {
  return region.shape.size() >= 2 && region.shape.front() == shape.layers.size() &&
         region.shape.front() != shape.vocabulary && region.shape.front() != shape.context;
}

/// Shares a region of all layers out. False where it is none, or no layer has such a part.
bool share_out(LayerBytes& out, const Region& region, const ModelShape& shape) {
  const bool all = stacked(region, shape);
  if (!all && !region.name.starts_with("layers.")) return false;
  const auto owns = [&](const LayerShape& layer) { return all || has_part(layer, region.name); };
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

std::optional<std::size_t> layer_of(std::string_view region) noexcept {
  while (!region.empty()) {
    const std::string_view part = region.substr(0, region.find('.'));
    for (const std::string_view tower : {"vision", "visual", "audio"}) {
      if (contains(part, tower)) return std::nullopt;
    }
    std::size_t layer = 0;
    const auto [end, error] = std::from_chars(part.begin(), part.end(), layer);
    if (error == std::errc{} && end == part.end()) {
      return layer < kMostLayers ? std::optional(layer) : std::nullopt;
    }
    region.remove_prefix(std::min(part.size() + 1, region.size()));
  }
  return std::nullopt;
}

bool of_experts(std::string_view region) noexcept {
  while (!region.empty()) {
    const std::string_view part = region.substr(0, region.find('.'));
    if (part == "experts" || part.ends_with("_exps")) return true;
    region.remove_prefix(std::min(part.size() + 1, region.size()));
  }
  return false;
}

LayerBytes bytes_by_layer(const TapePlan& plan, const ModelShape& shape) {
  LayerBytes out = {.layers = std::vector<std::uint64_t>(shape.layers.size()),
                    .experts = std::vector<std::uint64_t>(shape.layers.size())};
  for (const Region& region : plan.regions()) {
    const auto layer = layer_of(region.name);
    if (layer) {
      out.layers.resize(std::max(out.layers.size(), *layer + 1));
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
