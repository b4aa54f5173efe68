#include <algorithm>

#include "engines/llama_cpp/graph.hpp"
#include "plan/sizes.hpp"

namespace tapedeck::internal {

LlamaCppGraph::Tensor LlamaCppGraph::recurrent(const LayerShape& layer, Tensor normed) {
  graph_.set_stage("recurrent");
  switch (layer.recurrence) {
    case Recurrence::mamba1:
      return mamba1(layer, normed);
    case Recurrence::mamba2:
      return mamba2(layer, normed);
    case Recurrence::gated_delta:
      return gated_delta(layer, normed);
    case Recurrence::short_convolution:
      return short_convolution(layer, normed);
    case Recurrence::rwkv:  // a whole layer of its own
    case Recurrence::none:
      break;
  }
  return normed;
}

// The sequences' states are gathered before anything else of the layer is computed.
LlamaCppGraph::Tensor LlamaCppGraph::load_state(std::uint64_t elements) {
  const Tensor state = graph_.op(states(elements), {state_ids_});
  graph_.expand(state);
  return state;
}

// A convolution over the tokens: the state in front of them, the last columns back into the state.
LlamaCppGraph::Tensor LlamaCppGraph::convolve(Tensor from, std::uint64_t state,
                                              std::uint64_t width) {
  const Tensor before = load_state(state);
  const Tensor padded =
      graph_.op(fits(CheckedSize(rows(width)) + states(state)), {graph_.view(before), from});
  graph_.expand(graph_.store({graph_.view(padded, states(state))}));
  return same(same(project(width, padded)));
}

LlamaCppGraph::Tensor LlamaCppGraph::scan(std::uint64_t width, std::uint64_t state,
                                          std::array<Tensor, 4> from, Tensor skip) {
  const Tensor both = graph_.op(fits(CheckedSize(rows(width)) + states(state)),
                                {from[0], from[1], from[2], from[3], state_ids_});
  graph_.expand(both);
  graph_.expand(graph_.store({graph_.view(both, states(state))}));
  const Tensor skipped = graph_.in_place(rows(width), {skip});
  return graph_.in_place(rows(width), {graph_.view(both, rows(width)), skipped});
}

LlamaCppGraph::Tensor LlamaCppGraph::mamba1(const LayerShape& layer, Tensor normed) {
  const std::uint64_t inner = layer.inner;
  const std::uint64_t state_dim = inner == 0 ? 0 : layer.state / inner;
  const std::uint64_t rank = hints_.step_rank != 0 ? hints_.step_rank : parts(shape_.hidden, 16);

  const Tensor xz = project(fits(CheckedSize(inner) * 2), normed);
  const Tensor x = convolve(graph_.view(xz, rows(inner)), layer.conv_state, inner);
  const Tensor dbc = project(fits(CheckedSize(rank) + state_dim + state_dim), x);
  const Tensor step = same(project(inner, graph_.view(dbc, rows(rank))));
  const Tensor b = graph_.view(dbc, rows(state_dim));
  const Tensor c = graph_.view(dbc, rows(state_dim));
  const Tensor y = scan(inner, layer.state, {graph_.view(x), step, b, c}, x);
  const Tensor z = graph_.op(rows(inner), {graph_.view(xz, rows(inner))});
  return project(shape_.hidden, graph_.op(rows(inner), {z, y}));
}

LlamaCppGraph::Tensor LlamaCppGraph::mamba2(const LayerShape& layer, Tensor normed) {
  const std::uint64_t inner = layer.inner;
  const std::uint64_t width = std::max(inner, layer.conv_state / (hints_.conv_kernel - 1));
  const std::uint64_t side = (width - inner) / 2;  // of B, and of C
  const std::uint64_t heads =
      hints_.state_heads != 0 ? hints_.state_heads : std::max<std::uint64_t>(inner / 64, 1);

  const Tensor all = project(fits(CheckedSize(inner) + width + heads), normed);
  const Tensor mixed = graph_.view(all, rows(width));
  const Tensor xbc = convolve(mixed, layer.conv_state, width);
  const Tensor step = same(graph_.op(rows(heads), {graph_.view(all, rows(heads))}));
  const Tensor x = graph_.view(xbc, rows(inner));
  const Tensor b = graph_.view(xbc, rows(side));
  const Tensor c = graph_.view(xbc, rows(side));
  const Tensor y = scan(inner, layer.state, {x, step, b, c}, x);
  const Tensor z = graph_.op(rows(inner), {graph_.view(all, rows(inner))});
  const Tensor gated = graph_.op(rows(inner), {z, y});
  return project(shape_.hidden, same(graph_.view(gated)));
}

// Gated delta net, by ggml's fused operation.
LlamaCppGraph::Tensor LlamaCppGraph::gated_delta(const LayerShape& layer, Tensor normed) {
  if (hints_.split_delta) return split_delta(layer, normed);
  const std::uint64_t inner = layer.inner;
  const std::uint64_t width = std::max(inner, layer.conv_state / (hints_.conv_kernel - 1));
  const std::uint64_t side = (width - inner) / 2;  // of queries, and of keys
  const std::uint64_t heads =
      hints_.state_heads != 0 ? hints_.state_heads : std::max<std::uint64_t>(inner / 128, 1);
  const auto unit_rows = [&](Tensor qkv) {
    const Tensor unit = same(graph_.op(rows(side), {graph_.view(qkv, rows(side))}));
    return hints_.repeated_heads ? project(inner, graph_.view(unit)) : unit;
  };

  graph_.expand(normed);
  const Tensor qkv = convolve(project(width, normed), layer.conv_state, width);
  const Tensor state = load_state(layer.state);
  const Tensor q = unit_rows(qkv);
  const Tensor k = unit_rows(qkv);
  const Tensor v = graph_.view(qkv, rows(inner));
  const Tensor decay = same(project(heads, normed));
  const Tensor out = delta_rule(layer, {q, k, v, decay}, state);
  const Tensor gate = same(graph_.view(project(inner, normed)));
  return project(shape_.hidden, graph_.view(graph_.in_place(rows(inner), {same(out), gate})));
}

// Kimi's: a decay for every element of a key.
LlamaCppGraph::Tensor LlamaCppGraph::split_delta(const LayerShape& layer, Tensor normed) {
  const std::uint64_t inner = layer.inner;
  const std::uint64_t rank = 128;  // of decay and gate: the size of a head
  graph_.expand(normed);
  const Tensor before = load_state(layer.conv_state);
  const std::uint64_t part = layer.conv_state / 3;
  const auto convolved = [&] {
    const Tensor padded =
        graph_.op(fits(CheckedSize(rows(inner)) + states(part)),
                  {graph_.view(before, states(part)), graph_.view(project(inner, normed))});
    graph_.expand(graph_.store({graph_.view(padded, states(part))}));
    return graph_.op(rows(inner), {graph_.view(project(inner, padded))});
  };
  const Tensor q_conv = convolved();
  const Tensor k_conv = convolved();
  const Tensor v = graph_.view(convolved());
  const Tensor state = load_state(layer.state);
  const Tensor q = same(graph_.op(rows(inner), {graph_.view(q_conv)}));
  const Tensor k = same(graph_.op(rows(inner), {graph_.view(k_conv)}));
  const Tensor decay =
      graph_.op(rows(inner), {graph_.view(same(project(inner, project(rank, normed))))});
  const Tensor out = graph_.view(delta_rule(layer, {q, k, v, graph_.view(decay)}, state));
  const Tensor normed_out = graph_.op(rows(inner), {out});
  const Tensor gate =
      graph_.op(rows(inner), {graph_.view(project(inner, project(rank, graph_.view(normed))))});
  const Tensor gated = graph_.in_place(rows(inner), {normed_out, gate});
  return project(shape_.hidden, graph_.op(rows(inner), {graph_.view(gated)}));
}

// Rows and the new states come in one tensor; the rows are then normed, or copied, out of it.
LlamaCppGraph::Tensor LlamaCppGraph::delta_rule(const LayerShape& layer, std::array<Tensor, 4> from,
                                                Tensor state) {
  const Tensor both = graph_.op(fits(CheckedSize(rows(layer.inner)) + states(layer.state)),
                                {from[0], from[1], from[2], from[3], state});
  graph_.expand(both);
  graph_.expand(graph_.store({graph_.view(both, states(layer.state))}));
  return graph_.op(rows(layer.inner), {graph_.view(both, rows(layer.inner))});
}

// LFM2: three rows a token, of which two gate the third before and after the convolution.
LlamaCppGraph::Tensor LlamaCppGraph::short_convolution(const LayerShape& layer, Tensor normed) {
  const std::uint64_t width = layer.inner != 0 ? layer.inner : shape_.hidden;
  const Tensor bcx = project(fits(CheckedSize(width) * 3), normed);
  const Tensor b = graph_.view(bcx, rows(width));
  const Tensor x = graph_.view(bcx, rows(width));
  const Tensor bx = graph_.in_place(rows(width), {b, x});
  const Tensor before = load_state(layer.conv_state);
  const Tensor padded = graph_.op(fits(CheckedSize(rows(width)) + states(layer.conv_state)),
                                  {graph_.view(before), graph_.view(bx, rows(width))});
  graph_.expand(graph_.store({graph_.view(padded, states(layer.conv_state))}));
  const Tensor mixed = project(width, padded);
  const Tensor c = graph_.view(bcx, rows(width));
  return project(shape_.hidden, graph_.in_place(rows(width), {c, mixed}));
}

LlamaCppGraph::Tensor LlamaCppGraph::low_rank(std::uint64_t rank, Tensor from) {
  return project(shape_.hidden, same(project(rank, from)));
}

// a + (b - a) * weight, for several weights at once.
LlamaCppGraph::Tensor LlamaCppGraph::interpolate(Tensor a, Tensor b, std::uint64_t ways) {
  const std::uint64_t bytes = graph_.bytes(a);
  const Tensor difference = graph_.in_place(bytes, {b, a});
  if (ways == 1) return graph_.in_place(bytes, {a, same(difference)});
  const std::uint64_t all = fits(CheckedSize(bytes) * ways);
  const Tensor repeated = graph_.op(all, {difference});
  return graph_.in_place(all, {same(repeated), a});
}

// Five rows a token are mixed by weights that depend on the token.
LlamaCppGraph::Tensor LlamaCppGraph::rwkv6_time_mix(const LayerShape& layer, Tensor normed,
                                                    Tensor shifted) {
  constexpr std::uint64_t kWays = 5;  // w k v r g
  const std::uint64_t bytes = rows(shape_.hidden);
  const std::uint64_t all = fits(CheckedSize(bytes) * kWays);
  const Tensor state = load_state(layer.state);
  const Tensor difference = graph_.in_place(bytes, {shifted, normed});
  const Tensor weights =
      same(graph_.op(all, {project(hints_.lora_rank, project(shape_.hidden, difference))}));
  const Tensor mixed = graph_.in_place(
      all, {graph_.in_place(all, {weights, graph_.view(difference)}), graph_.view(normed)});
  const auto part = [&] { return graph_.view(mixed, bytes); };

  const Tensor k = graph_.view(project(shape_.hidden, part()));
  const Tensor v = graph_.view(project(shape_.hidden, part()));
  const Tensor r = graph_.view(project(shape_.hidden, part()));
  const Tensor decay = same(low_rank(hints_.lora_rank, part()));
  const Tensor both = graph_.op(fits(CheckedSize(bytes) + states(layer.state)),
                                {k, v, r, graph_.view(decay), state});
  graph_.expand(graph_.store({graph_.view(both, states(layer.state))}));
  const Tensor grouped = graph_.view(graph_.op(bytes, {graph_.view(both, bytes)}));
  const Tensor scaled = same(graph_.op(bytes, {grouped}));
  const Tensor gate = same(project(shape_.hidden, part()));
  return project(shape_.hidden, graph_.in_place(bytes, {scaled, gate}));
}

LlamaCppGraph::Tensor LlamaCppGraph::rwkv_time_mix(const LayerShape& layer, Tensor normed,
                                                   Tensor shifted) {
  constexpr std::uint64_t kWays = 6;  // r w k v a g
  const std::uint64_t bytes = rows(shape_.hidden);
  const Tensor mixed = interpolate(normed, shifted, kWays);
  std::array<Tensor, kWays> x{};
  for (Tensor& each : x) each = graph_.view(mixed, bytes);

  const Tensor r = project(shape_.hidden, x[0]);
  const Tensor decay = same(low_rank(hints_.lora_rank, x[1]));
  const Tensor key = project(shape_.hidden, x[2]);
  Tensor v = project(shape_.hidden, x[3]);
  if (first_value_) {
    const Tensor weight = same(same(low_rank(hints_.lora_rank, x[3])));
    const Tensor difference = graph_.in_place(bytes, {*first_value_, v});
    v = sum(v, graph_.in_place(bytes, {difference, weight}));
  } else {
    first_value_ = v;
  }
  const Tensor gate = low_rank(hints_.gate_lora_rank, x[5]);
  const Tensor a = same(same(low_rank(hints_.lora_rank, x[4])));
  const Tensor unit = graph_.op(bytes, {graph_.view(same(key))});
  const Tensor key_a = same(key);
  const Tensor scaled = graph_.in_place(bytes, {graph_.in_place(bytes, {a, key_a}), key_a});
  const Tensor k = sum(key, scaled);

  const Tensor state = load_state(layer.state);
  const Tensor both = graph_.op(fits(CheckedSize(bytes) + states(layer.state)),
                                {graph_.view(r), decay, graph_.view(k), v, same(unit),
                                 graph_.in_place(bytes, {unit, a}), state});
  graph_.expand(graph_.store({graph_.view(both, states(layer.state))}));
  const Tensor grouped = graph_.op(bytes, {graph_.view(both, bytes)});
  const Tensor bonus = graph_.op(rows(shape_.hidden / std::max<std::uint64_t>(hints_.wkv_head, 1)),
                                 {same(graph_.in_place(bytes, {graph_.view(k), graph_.view(r)}))});
  const Tensor weighted = graph_.in_place(bytes, {graph_.view(v), bonus});
  const Tensor out =
      graph_.in_place(bytes, {sum(same(same(grouped)), graph_.view(weighted)), gate});
  return project(shape_.hidden, out);
}

// Time mix and channel mix, each on a token and the one before it.
void LlamaCppGraph::rwkv_layer(const LayerShape& layer, bool last) {
  graph_.set_stage("recurrent");
  const std::uint64_t bytes = rows(shape_.hidden);
  const Tensor shift = graph_.view(load_state(layer.conv_state));
  const Tensor one_state = graph_.view(shift, states(shape_.hidden));
  const Tensor other_state = graph_.view(shift, states(shape_.hidden));

  const Tensor normed = norm(residual_);
  graph_.expand(normed);
  const Tensor shifted = graph_.op(bytes, {one_state, normed});
  const Tensor mix =
      hints_.rwkv6 ? rwkv6_time_mix(layer, normed, shifted) : rwkv_time_mix(layer, normed, shifted);
  Tensor middle = sum(graph_.view(mix), residual_);
  graph_.expand(middle);

  graph_.set_stage("feed-forward");
  Tensor mixed = norm(middle);
  Tensor previous = graph_.op(bytes, {other_state, mixed});
  graph_.expand(graph_.store(
      {graph_.op(states(layer.conv_state), {graph_.view(normed, states(shape_.hidden)),
                                            graph_.view(mixed, states(shape_.hidden))})}));
  if (last) {
    middle = output_rows(middle);
    mixed = output_rows(mixed);
    previous = output_rows(previous);
    rows_ = outputs_;
  }
  const Tensor inner = project(layer.ffn, interpolate(mixed, previous, 1));
  residual_ = sum(project(shape_.hidden, same(same(inner))), middle);
}

}  // namespace tapedeck::internal
