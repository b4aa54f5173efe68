/// @file
/// What tests ask of a shape, and short ways to make one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::tests {

/// Layers of each kind, and the elements that one token or one sequence keeps in all of them.
struct Summary {
  std::size_t full = 0;      ///< Full or latent.
  std::size_t windowed = 0;  ///< Or chunked.
  std::size_t stateful = 0;
  std::size_t dense = 0;
  std::size_t experts = 0;
  std::uint64_t keys = 0;  ///< Of the full layers.
  std::uint64_t values = 0;
  std::uint64_t window_keys = 0;
  std::uint64_t window_values = 0;
  std::uint64_t convolution = 0;
  std::uint64_t state = 0;

  friend bool operator==(const Summary&, const Summary&) = default;
};

inline Summary summary_of(const ModelShape& shape) {
  Summary sum;
  for (const LayerShape& layer : shape.layers) {
    const std::uint64_t keys = layer.kv_heads * layer.key_dim;
    const std::uint64_t values = layer.kv_heads * layer.value_dim;
    if (layer.attention == Attention::full || layer.attention == Attention::latent) {
      ++sum.full;
      sum.keys += keys;
      sum.values += values;
    } else if (layer.attention != Attention::none) {
      ++sum.windowed;
      sum.window_keys += keys;
      sum.window_values += values;
    }
    if (layer.recurrence != Recurrence::none) ++sum.stateful;
    if (layer.ffn != 0) ++sum.dense;
    if (layer.experts != 0) ++sum.experts;
    sum.convolution += layer.conv_state;
    sum.state += layer.state;
  }
  return sum;
}

inline std::size_t count_layers(const ModelShape& shape,
                                const std::function<bool(const LayerShape&)>& is) {
  std::size_t count = 0;
  for (const LayerShape& layer : shape.layers) {
    if (is(layer)) ++count;
  }
  return count;
}

/// The shape of a config.json of this text.
inline ModelShape shape_of_config(std::string_view text) {
  const TempFolder folder;
  return internal::config_shape("config.json",
                                internal::read_json_config(folder.write("config.json", text)));
}

}  // namespace tapedeck::tests
