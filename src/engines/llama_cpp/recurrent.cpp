// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "engines/llama_cpp/graph.hpp"
#include "plan/sizes.hpp"

namespace tapedeck::internal {

using Tensor = TensorGraph::Tensor;

Tensor LlamaCppGraph::recurrent(const LayerShape& layer, Tensor normed) {
  set_stage("recurrent");
  switch (layer.recurrence) {
    case Recurrence::mamba1:
      return mamba1(layer, normed);
    case Recurrence::mamba2:
      return mamba2(layer, normed);
    case Recurrence::gated_delta:
      return hints_.split_delta ? split_delta(layer, normed) : gated_delta(layer, normed);
    case Recurrence::short_convolution:
      return short_convolution(layer, normed);
    case Recurrence::rwkv:  // see rwkv_layer
    case Recurrence::none:
      break;
  }
  return normed;
}

LlamaCppGraph::Branch LlamaCppGraph::branch_of(const LayerShape& layer,
                                               std::uint64_t head_dim) const {
  const std::uint64_t inner = layer.inner;
  // A convolution over one token has no state.
  const std::uint64_t kept = std::max<std::uint64_t>(hints_.conv_kernel, 2) - 1;
  const std::uint64_t convolved = std::max(inner, layer.conv_state / kept);
  return {.inner = inner,
          .convolved = convolved,
          .side = (convolved - inner) / 2,
          .heads = hints_.state_heads != 0 ? hints_.state_heads
                                           : std::max<std::uint64_t>(inner / head_dim, 1)};
}

// The states of the sequences are gathered before the rest of the layer is computed.
Tensor LlamaCppGraph::load_state(std::uint64_t elements) {
  const Tensor state = op(states(elements), {state_ids_});
  expand(state);
  return state;
}

// One tensor holds the rows and the new states. The states are stored back into their cache.
Tensor LlamaCppGraph::with_new_state(std::uint64_t width, std::uint64_t state,
                                     std::initializer_list<Tensor> from) {
  const Tensor both = op(rows(width) + states(state), from);
  expand(store({view(both, states(state))}));
  return both;
}

// A convolution over the state followed by the tokens. The last columns become the new state.
Tensor LlamaCppGraph::convolve(Tensor from, std::uint64_t state, std::uint64_t width) {
  const Tensor before = load_state(state);
  return project(width, with_new_state(width, state, {view(before), from}));
}

Tensor LlamaCppGraph::scan(const LayerShape& layer, std::initializer_list<Tensor> from,
                           Tensor skip) {
  const Tensor both = with_new_state(layer.inner, layer.state, from);
  return combine(part(both, layer.inner), same(skip));
}

Tensor LlamaCppGraph::mamba1(const LayerShape& layer, Tensor normed) {
  const std::uint64_t inner = layer.inner;
  const std::uint64_t state_dim = inner == 0 ? 0 : layer.state / inner;
  const std::uint64_t rank = hints_.step_rank != 0 ? hints_.step_rank : parts(shape_.hidden, 16);

  const Tensor xz = project(CheckedSize(inner) * 2, normed);
  const Tensor x = same(same(convolve(part(xz, inner), layer.conv_state, inner)));
  const Tensor dbc = project(CheckedSize(rank) + state_dim + state_dim, x);
  const Tensor step = same(project(inner, part(dbc, rank)));
  const Tensor b = part(dbc, state_dim);
  const Tensor c = part(dbc, state_dim);
  const Tensor y = scan(layer, {view(x), step, b, c, state_ids_}, x);
  const Tensor z = copy(part(xz, inner));
  return project(shape_.hidden, op(rows(inner), {z, y}));
}

Tensor LlamaCppGraph::mamba2(const LayerShape& layer, Tensor normed) {
  const auto [inner, convolved, side, heads] = branch_of(layer, 64);
  const Tensor all = project(CheckedSize(inner) + convolved + heads, normed);
  const Tensor xbc = same(same(convolve(part(all, convolved), layer.conv_state, convolved)));
  const Tensor step = same(copy(part(all, heads)));
  const Tensor x = part(xbc, inner);
  const Tensor b = part(xbc, side);
  const Tensor c = part(xbc, side);
  const Tensor y = scan(layer, {x, step, b, c, state_ids_}, x);
  const Tensor z = copy(part(all, inner));
  const Tensor gated = op(rows(inner), {z, y});
  return project(shape_.hidden, same(view(gated)));
}

// Gated delta net, computed by ggml's fused operation.
Tensor LlamaCppGraph::gated_delta(const LayerShape& layer, Tensor normed) {
  const Branch branch = branch_of(layer, 128);
  const auto unit_rows = [&](Tensor qkv) {
    const Tensor unit = same(copy(part(qkv, branch.side)));
    return hints_.repeated_heads ? project(branch.inner, view(unit)) : unit;
  };

  expand(normed);
  const Tensor mixed = project(branch.convolved, normed);
  const Tensor qkv = same(same(convolve(mixed, layer.conv_state, branch.convolved)));
  const Tensor state = load_state(layer.state);
  const Tensor q = unit_rows(qkv);
  const Tensor k = unit_rows(qkv);
  const Tensor v = part(qkv, branch.inner);
  const Tensor decay = same(project(branch.heads, normed));
  const Tensor out = delta_rule(layer, {q, k, v, decay, state});
  const Tensor gate = same(view(project(branch.inner, normed)));
  return project(shape_.hidden, view(combine(same(out), gate)));
}

// Kimi's delta attention has a decay for every element of a key.
Tensor LlamaCppGraph::split_delta(const LayerShape& layer, Tensor normed) {
  const std::uint64_t inner = layer.inner;
  const std::uint64_t rank = 128;  // rank of decay and gate, which is the size of a head
  expand(normed);
  const Tensor before = load_state(layer.conv_state);
  const std::uint64_t third = layer.conv_state / 3;
  const auto convolved = [&] {
    const Tensor from = view(project(inner, normed));
    const Tensor padded = with_new_state(inner, third, {view(before, states(third)), from});
    return project(inner, view(project(inner, padded)));
  };
  const Tensor q_conv = convolved();
  const Tensor k_conv = convolved();
  const Tensor v = view(convolved());
  const Tensor state = load_state(layer.state);
  const Tensor q = same(copy(q_conv));
  const Tensor k = same(copy(k_conv));
  const Tensor decay = copy(view(same(project(inner, project(rank, normed)))));
  const Tensor out = view(delta_rule(layer, {q, k, v, view(decay), state}));
  const Tensor normed_out = copy(out);
  const Tensor gate = copy(view(project(inner, project(rank, view(normed)))));
  return project(shape_.hidden, copy(view(combine(normed_out, gate))));
}

// The rows are normed or copied, because the tensor that holds them also holds the new states.
Tensor LlamaCppGraph::delta_rule(const LayerShape& layer, std::initializer_list<Tensor> from) {
  return copy(part(with_new_state(layer.inner, layer.state, from), layer.inner));
}

// LFM2 has three rows per token. Two of them gate the third, before and after the convolution.
Tensor LlamaCppGraph::short_convolution(const LayerShape& layer, Tensor normed) {
  const std::uint64_t width = layer.inner != 0 ? layer.inner : shape_.hidden;
  const Tensor bcx = project(CheckedSize(width) * 3, normed);
  const Tensor b = part(bcx, width);
  const Tensor x = part(bcx, width);
  const Tensor mixed = convolve(view(combine(b, x)), layer.conv_state, width);
  const Tensor c = part(bcx, width);
  return project(shape_.hidden, combine(c, mixed));
}

Tensor LlamaCppGraph::low_rank(std::uint64_t rank, Tensor from) {
  return project(shape_.hidden, same(project(rank, from)));
}

// Computes a + (b - a) * weight for several weights at once.
Tensor LlamaCppGraph::interpolate(Tensor a, Tensor b, std::uint64_t ways) {
  const Tensor difference = combine(b, a);
  if (ways == 1) return combine(a, same(difference));
  const Tensor repeated = op(CheckedSize(bytes(a)) * ways, {difference});
  return combine(same(repeated), a);
}

// Mixes five rows per token with weights that depend on the token.
Tensor LlamaCppGraph::rwkv6_time_mix(const LayerShape& layer, Tensor normed, Tensor shifted) {
  constexpr std::uint64_t kWays = 5;  // w k v r g
  const std::uint64_t hidden = shape_.hidden;
  const Tensor state = load_state(layer.state);
  const Tensor difference = combine(shifted, normed);
  const Tensor weights = same(
      project(CheckedSize(hidden) * kWays, project(hints_.lora_rank, project(hidden, difference))));
  const Tensor mixed = combine(combine(weights, view(difference)), view(normed));
  const auto next = [&] { return part(mixed, hidden); };

  const Tensor k = view(project(hidden, next()));
  const Tensor v = view(project(hidden, next()));
  const Tensor r = view(project(hidden, next()));
  const Tensor decay = same(low_rank(hints_.lora_rank, next()));
  const Tensor both = with_new_state(hidden, layer.state, {k, v, r, view(decay), state});
  const Tensor grouped = view(copy(part(both, hidden)));
  const Tensor scaled = same(copy(grouped));
  const Tensor gate = same(project(hidden, next()));
  return project(hidden, combine(scaled, gate));
}

Tensor LlamaCppGraph::rwkv_time_mix(const LayerShape& layer, Tensor normed, Tensor shifted) {
  constexpr std::uint64_t kWays = 6;  // r w k v a g
  const std::uint64_t hidden = shape_.hidden;
  const Tensor mixed = interpolate(normed, shifted, kWays);
  std::array<Tensor, kWays> x{};
  for (Tensor& each : x) each = part(mixed, hidden);

  const Tensor r = project(hidden, x[0]);
  const Tensor decay = same(low_rank(hints_.lora_rank, x[1]));
  const Tensor key = project(hidden, x[2]);
  Tensor v = project(hidden, x[3]);
  if (first_value_) {
    const Tensor weight = same(same(low_rank(hints_.lora_rank, x[3])));
    v = combine(v, combine(combine(*first_value_, v), weight));
  } else {
    first_value_ = v;
  }
  const Tensor gate = low_rank(hints_.gate_lora_rank, x[5]);
  const Tensor a = same(same(low_rank(hints_.lora_rank, x[4])));
  const Tensor unit = copy(view(same(key)));
  const Tensor key_a = same(key);
  const Tensor k = combine(key, combine(combine(a, key_a), key_a));

  const Tensor state = load_state(layer.state);
  const Tensor both = with_new_state(
      hidden, layer.state, {view(r), decay, view(k), v, same(unit), combine(unit, a), state});
  const Tensor grouped = copy(part(both, hidden));
  const Tensor bonus = project(hidden / std::max<std::uint64_t>(hints_.wkv_head, 1),
                               same(combine(view(k), view(r))));
  const Tensor weighted = combine(view(v), bonus);
  return project(hidden, combine(combine(same(same(grouped)), view(weighted)), gate));
}

// Time mix and channel mix, each of a token with the previous one.
void LlamaCppGraph::rwkv_layer(const LayerShape& layer, bool last) {
  set_stage("recurrent");
  const CheckedSize one_state = states(shape_.hidden);
  const Tensor shift = view(load_state(layer.conv_state));
  const Tensor mix_state = view(shift, one_state);
  const Tensor channel_state = view(shift, one_state);

  const Tensor normed = norm(residual_);
  expand(normed);
  const Tensor shifted = op(rows(shape_.hidden), {mix_state, normed});
  const Tensor mix =
      hints_.rwkv6 ? rwkv6_time_mix(layer, normed, shifted) : rwkv_time_mix(layer, normed, shifted);
  Tensor middle = combine(view(mix), residual_);
  expand(middle);

  set_stage("feed-forward");
  Tensor mixed = norm(middle);
  Tensor previous = op(rows(shape_.hidden), {channel_state, mixed});
  expand(store({op(states(layer.conv_state), {view(normed, one_state), view(mixed, one_state)})}));
  if (last) {
    previous = output_rows(previous);
    keep_output_rows(middle, mixed);
  }
  const Tensor inner = project(layer.ffn, interpolate(mixed, previous, 1));
  residual_ = combine(project(shape_.hidden, same(same(inner))), middle);
}

}  // namespace tapedeck::internal
