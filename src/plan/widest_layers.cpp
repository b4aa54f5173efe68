// SPDX-License-Identifier: Apache-2.0
#include "plan/widest_layers.hpp"

#include <algorithm>

#include "plan/sizes.hpp"

namespace tapedeck::internal {
namespace {

void widen(std::uint64_t& figure, std::uint64_t to) { figure = std::max(figure, to); }

// Published convolutions are 4 tokens long, of which the state keeps 3. LFM2's convolution is 3
// tokens long and as wide as the hidden row.
std::uint64_t convolved_width(const ModelShape& shape, const LayerShape& layer) {
  switch (layer.recurrence) {
    case Recurrence::none:
      return 0;
    case Recurrence::mamba1:
      return layer.inner;
    case Recurrence::mamba2:
    case Recurrence::gated_delta:
      return std::max(layer.inner, layer.conv_state / 3);
    case Recurrence::short_convolution:
      return shape.hidden;
    case Recurrence::rwkv:
      break;
  }
  return fits(CheckedSize(shape.hidden) * 6);  // r, w, k, v, a and g
}

void widen_for_attention(WidestLayers& out, const LayerShape& layer) {
  if (layer.attention == Attention::none) return;
  const bool latent = layer.attention == Attention::latent;
  const std::uint64_t value = latent ? layer.key_dim : layer.value_dim;
  widen(out.heads, layer.heads);
  widen(out.head_dim, value);
  widen(out.q, fits(CheckedSize(layer.heads) * layer.key_dim));
  widen(out.attention_out, fits(CheckedSize(layer.heads) * value));
  if (latent) {
    widen(out.latent, layer.key_dim);
    return;
  }
  widen(out.k, fits(CheckedSize(layer.kv_heads) * layer.key_dim));
  widen(out.v, fits(CheckedSize(layer.kv_heads) * layer.value_dim));
}

}  // namespace

WidestLayers widest_layers(const ModelShape& shape) {
  WidestLayers out;
  for (const LayerShape& layer : shape.layers) {
    widen_for_attention(out, layer);
    widen(out.ffn, layer.ffn);
    widen(out.shared_ffn, layer.shared_ffn);
    widen(out.experts, layer.experts);
    widen(out.experts_used, layer.experts_used);
    widen(out.expert_rows, fits(CheckedSize(layer.experts_used) * layer.expert_ffn));
    if (layer.recurrence == Recurrence::none) continue;
    widen(out.inner, layer.inner != 0 ? layer.inner : shape.hidden);
    widen(out.convolved, convolved_width(shape, layer));
  }
  return out;
}

}  // namespace tapedeck::internal
