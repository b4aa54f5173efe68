// The tensors of layers that keep a state.
#include <cstdint>

#include "model/parameter_collector.hpp"

namespace tapedeck::internal {

void ParameterCollector::add_state(const LayerShape& layer) {
  switch (layer.recurrence) {
    case Recurrence::none:
    case Recurrence::rwkv:
      return;
    case Recurrence::mamba1:
      return add_mamba1(layer);
    case Recurrence::mamba2:
      return add_mamba2(layer);
    case Recurrence::gated_delta:
      return add_gated_delta(layer);
    case Recurrence::short_convolution:
      matrix(of_layers("layers.convolution.in", Part::recurrent), 3 * hidden_, hidden_);
      add(of_layers("layers.convolution.kernel", Part::convolution), ParameterKind::other, hidden_,
          figures_.get(Figure::conv_cache, 0));
      matrix(of_layers("layers.convolution.out", Part::recurrent), hidden_, hidden_);
      return;
  }
}

// Sources: MambaMixer and Mamba2Mixer of transformers.
void ParameterCollector::add_mamba1(const LayerShape& layer) {
  const std::uint64_t state = figures_.get(Figure::state, 0);
  const std::uint64_t rank = figures_.get(Figure::time_step_rank, (hidden_ + 15) / 16);
  matrix(of_layers("layers.state.in", Part::recurrent), 2 * layer.inner, hidden_);
  add(of_layers("layers.state.kernel", Part::convolution), ParameterKind::other, layer.inner,
      figures_.get(Figure::conv_kernel, 4));
  vector(of_layers("layers.state.kernel_bias", Part::convolution, Piece::bias), ParameterKind::bias,
         layer.inner);
  matrix(of_layers("layers.state.x", Part::recurrent), rank + 2 * state, layer.inner);
  projection(of_layers("layers.state.dt", Part::recurrent), layer.inner, rank, true);
  add(of_layers("layers.state.a", Part::recurrent), ParameterKind::other, layer.inner, state);
  vector(of_layers("layers.state.d", Part::recurrent), ParameterKind::other, layer.inner);
  matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
  if (architecture_.has(kStateNorms)) {  // Jamba's, of the time step and of B and C.
    norm(of_layers("layers.state.dt_norm", Part::recurrent_norm), rank);
    norm(of_layers("layers.state.bc_norm", Part::recurrent_norm), state, 2);
  }
}

void ParameterCollector::add_mamba2(const LayerShape& layer) {
  const std::uint64_t shared = 2 * figures_.get(Figure::groups, 1) * figures_.get(Figure::state, 0);
  const std::uint64_t size = figures_.get(Figure::state_head_dim, 64);
  const std::uint64_t heads = figures_.get(Figure::state_heads, size == 0 ? 0 : layer.inner / size);
  matrix(of_layers("layers.state.in", Part::recurrent), 2 * layer.inner + shared + heads, hidden_);
  add(of_layers("layers.state.kernel", Part::convolution), ParameterKind::other,
      layer.inner + shared, figures_.get(Figure::conv_kernel, 4));
  vector(of_layers("layers.state.kernel_bias", Part::convolution, Piece::bias), ParameterKind::bias,
         layer.inner + shared);
  add(of_layers("layers.state.head", Part::recurrent), ParameterKind::other, 1, heads,
      3);  // A, D and the time step's bias
  // Falcon-H1 has one where it says so.
  const bool beside = architecture_.states == States::beside_attention;
  if (!beside || says("mamba_rms_norm"))
    norm(of_layers("layers.state.norm", Part::recurrent_norm), layer.inner);
  matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
}

// Source: Qwen3NextGatedDeltaNet of transformers.
void ParameterCollector::add_gated_delta(const LayerShape& layer) {
  const std::uint64_t shared = 2 * figures_.get(Figure::groups, 1) * figures_.get(Figure::state, 0);
  const std::uint64_t heads = figures_.get(Figure::state_heads, 0);
  matrix(of_layers("layers.state.in", Part::recurrent), shared + 2 * layer.inner, hidden_);
  matrix(of_layers("layers.state.ba", Part::recurrent), 2 * heads, hidden_);
  add(of_layers("layers.state.kernel", Part::convolution), ParameterKind::other,
      shared + layer.inner, figures_.get(Figure::conv_kernel, 4));
  add(of_layers("layers.state.head", Part::recurrent), ParameterKind::other, 1, heads,
      2);  // A and the time step's bias
  norm(of_layers("layers.state.norm", Part::recurrent_norm),
       figures_.get(Figure::state_head_dim, 0));
  matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
}

}  // namespace tapedeck::internal
