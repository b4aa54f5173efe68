#include "engines/llama_cpp/graph.hpp"

#include <algorithm>

#include "plan/sizes.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kF32 = 4;
constexpr std::uint64_t kI32 = 4;
constexpr std::uint64_t kI64 = 8;

bool windowed(const LayerShape& layer) {
  return layer.attention == Attention::windowed || layer.attention == Attention::chunked;
}

bool has_feed_forward(const LayerShape& layer) {
  return layer.ffn != 0 || layer.experts != 0 || layer.shared_ffn != 0;
}

}  // namespace

LlamaCppGraph::LlamaCppGraph(const ModelShape& shape, const PlanOptions& options,
                             const CacheCells& cells)
    : shape_(shape),
      options_(options),
      cells_(cells),
      hints_(shape.graph),
      tokens_(cells.micro_batch),
      outputs_(std::min(cells.micro_batch, options.batch)),
      rows_(tokens_) {
  for (const LayerShape& layer : shape.layers) {
    widest_v_ = std::max(widest_v_, fits(CheckedSize(layer.kv_heads) * layer.value_dim));
  }
}

std::uint64_t LlamaCppGraph::rows(std::uint64_t width) const {
  return fits(CheckedSize(width) * rows_ * kF32);
}

std::uint64_t LlamaCppGraph::states(std::uint64_t elements) const {
  return fits(CheckedSize(elements) * options_.sequences * kF32);
}

TensorGraph::Footprint LlamaCppGraph::measure() {
  graph_.set_stage("embedding");
  const Tensor ids = graph_.input(fits(CheckedSize(tokens_) * kI32));
  // A prompt may come as embeddings too; both ways are part of the graph.
  const Tensor embeddings = graph_.input(rows(shape_.hidden));
  residual_ = project(shape_.hidden, ids);
  graph_.expand(residual_);
  graph_.expand(embeddings);
  positions_ = graph_.input(fits(CheckedSize(tokens_) * kI32));
  output_ids_ = graph_.input(fits(CheckedSize(tokens_) * kI32));
  state_ids_ = graph_.input(fits(CheckedSize(options_.sequences) * kI32));

  add_layer_inputs(ids);
  for (std::size_t i = 0; i < shape_.layers.size(); ++i) {
    layer(shape_.layers[i], i + 1 == shape_.layers.size());
  }

  graph_.set_stage("logits");
  if (stack_) residual_ = output_rows(merge_stack());
  if (!hints_.late_outputs) rows_ = outputs_;
  if (!shape_.encoder) {
    residual_ = norm(residual_);
    graph_.keep(residual_);
    if (hints_.late_outputs) {
      residual_ = output_rows(residual_);
      graph_.keep(residual_);
      rows_ = outputs_;
    }
    residual_ = project(shape_.vocabulary, residual_);
  }
  graph_.keep(residual_);
  graph_.expand(residual_);
  return graph_.allocate();
}

LlamaCppGraph::Tensor LlamaCppGraph::norm(Tensor from) {
  const std::uint64_t bytes = graph_.bytes(from);
  return same(hints_.layer_norm ? graph_.op(bytes, {from}) : graph_.in_place(bytes, {from}));
}

LlamaCppGraph::Tensor LlamaCppGraph::output_rows(Tensor from) {
  return graph_.op(graph_.bytes(from) / tokens_ * outputs_, {from, output_ids_});
}

void LlamaCppGraph::layer(const LayerShape& layer, bool last) {
  if (shape_.encoder) return encoder_layer(layer, last);
  if (layer.recurrence == Recurrence::rwkv) return rwkv_layer(layer, last);
  if (!stack_) {
    plain_layer(layer, last);
    if (layer_inputs_) residual_ = sum(residual_, layer_input(residual_));
    return;
  }
  const Tensor predictions = predict_stack();
  residual_ = graph_.view(predictions, rows(shape_.hidden));
  plain_layer(layer, false);
  correct_stack(predictions);
}

void LlamaCppGraph::plain_layer(const LayerShape& layer, bool last) {
  Tensor input = residual_;
  Tensor normed = norm(input);
  const bool mixes = layer.attention != Attention::none || layer.recurrence != Recurrence::none;
  Tensor out = mixes ? mixer(layer, normed) : feed_forward(layer, normed);
  if (last && !hints_.late_outputs) {
    out = output_rows(out);
    input = output_rows(input);
    if (hints_.one_norm) normed = output_rows(normed);
    rows_ = outputs_;
  }
  if (!mixes || !has_feed_forward(layer)) {
    residual_ = sum(out, input);
  } else if (hints_.parallel) {
    const Tensor second = feed_forward(layer, norm(input));
    residual_ = sum(sum(second, out), input);
  } else if (hints_.one_norm) {
    residual_ = sum(sum(feed_forward(layer, normed), input), out);
  } else {
    const Tensor middle = sum(out, input);
    residual_ = sum(feed_forward(layer, norm(middle)), middle);
  }
}

// Gemma 3n and 4: a small row for every token and layer, of which each layer takes its own. Gemma
// 3n also keeps several rows of the residual (AltUp).
void LlamaCppGraph::add_layer_inputs(Tensor ids) {
  const std::uint64_t bytes = rows(fits(CheckedSize(hints_.layer_input) * shape_.layers.size()));
  if (bytes != 0) {
    const Tensor selected = same(graph_.view(graph_.op(bytes, {ids})));
    graph_.expand(selected);
    const Tensor projected = same(graph_.view(graph_.op(bytes, {residual_})));
    layer_inputs_ = graph_.op(bytes, {graph_.view(sum(projected, selected))});
  }
  if (hints_.residuals < 2) return;
  const std::uint64_t others = rows(fits(CheckedSize(shape_.hidden) * (hints_.residuals - 1)));
  const Tensor added = same(graph_.op(others, {graph_.op(others, {residual_})}));
  stack_ = graph_.op(fits(CheckedSize(rows(shape_.hidden)) + others), {residual_, added});
}

LlamaCppGraph::Tensor LlamaCppGraph::layer_input(Tensor from) {
  if (!layer_inputs_) return from;
  const std::uint64_t bytes = rows(hints_.layer_input);
  const Tensor gate = same(project(hints_.layer_input, from));
  const Tensor gated = graph_.in_place(bytes, {gate, graph_.view(*layer_inputs_, bytes)});
  return norm(project(shape_.hidden, gated));
}

LlamaCppGraph::Tensor LlamaCppGraph::predict_stack() {
  const std::uint64_t bytes = graph_.bytes(*stack_);
  const Tensor turned = graph_.op(bytes, {graph_.view(*stack_)});
  const Tensor mixed = graph_.op(bytes, {turned});
  return sum(graph_.op(bytes, {graph_.view(mixed)}), *stack_);
}

void LlamaCppGraph::correct_stack(Tensor predictions) {
  const std::uint64_t row = rows(shape_.hidden);
  const std::uint64_t bytes = graph_.bytes(predictions);
  const Tensor innovation = graph_.op(row, {residual_, graph_.view(predictions, row)});
  const Tensor scaled = graph_.in_place(bytes, {graph_.op(bytes, {innovation}), residual_});
  const Tensor corrected = sum(scaled, predictions);
  const Tensor added = layer_input(graph_.op(row, {graph_.view(corrected, row)}));
  const Tensor rest = graph_.op(bytes - row, {graph_.view(corrected, bytes - row), added});
  stack_ = graph_.op(bytes, {graph_.view(corrected, row), rest});
}

LlamaCppGraph::Tensor LlamaCppGraph::merge_stack() {
  const std::uint64_t row = rows(shape_.hidden);
  const std::uint64_t others = graph_.bytes(*stack_) - row;
  const Tensor mixed = same(graph_.op(others, {graph_.view(*stack_, others)}));
  return graph_.op(row, {graph_.view(*stack_, row), graph_.view(mixed, row)});
}

// Norms come after, and nothing is before the first.
void LlamaCppGraph::encoder_layer(const LayerShape& layer, bool last) {
  Tensor input = residual_;
  Tensor out = attention(layer, input);
  if (last) {
    out = output_rows(out);
    input = output_rows(input);
    rows_ = outputs_;
  }
  const Tensor middle = norm(sum(out, input));
  residual_ = norm(sum(feed_forward(layer, middle), middle));
}

LlamaCppGraph::Tensor LlamaCppGraph::mixer(const LayerShape& layer, Tensor normed) {
  if (layer.recurrence == Recurrence::none) return attention(layer, normed);
  if (layer.attention == Attention::none) return recurrent(layer, normed);
  // Both, side by side (Falcon-H1), of which each norms the layer's input for itself.
  const Tensor out = attention(layer, normed);
  return sum(out, recurrent(layer, hints_.state_norm ? norm(residual_) : normed));
}

LlamaCppGraph::CacheInputs& LlamaCppGraph::inputs_of(const LayerShape& layer) {
  return inputs_[windowed(layer) ? 1 : 0];
}

LlamaCppGraph::Tensor LlamaCppGraph::mask(const LayerShape& layer, CacheInputs& inputs) {
  const std::uint64_t element = options_.flash_attention ? 2 : kF32;
  if (!inputs.mask) inputs.mask = graph_.input(scores(layer, 1) / kF32 * element);
  return *inputs.mask;
}

// Of queries with every key, in f32.
std::uint64_t LlamaCppGraph::scores(const LayerShape& layer, std::uint64_t heads) const {
  return rows(fits(CheckedSize(keys(layer)) * heads));
}

std::uint64_t LlamaCppGraph::keys(const LayerShape& layer) const {
  const std::uint64_t ratio = std::max<std::uint64_t>(layer.compress_ratio, 1);
  return shape_.encoder ? tokens_ : parts(cells_.of(layer), ratio);
}

// A layer's cache of all streams, `width` elements a token.
std::uint64_t LlamaCppGraph::cache_bytes(const LayerShape& layer, DType type,
                                         std::uint64_t width) const {
  const DTypeTraits& of = traits(type);
  return fits(CheckedSize(keys(layer)) * cells_.streams * parts(width, of.block_elements) *
              of.block_bytes);
}

LlamaCppGraph::Qkv LlamaCppGraph::queries_keys_values(const LayerShape& layer, Tensor normed) {
  const std::uint64_t q_bytes = rows(fits(CheckedSize(layer.heads) * layer.key_dim));
  const std::uint64_t k_bytes = rows(fits(CheckedSize(layer.kv_heads) * layer.key_dim));
  const std::uint64_t v_bytes = rows(fits(CheckedSize(layer.kv_heads) * layer.value_dim));
  Qkv out{};
  if (hints_.fused_qkv) {
    const Tensor all = graph_.op(fits(CheckedSize(q_bytes) + k_bytes + v_bytes), {normed});
    const Tensor biased = same(all);
    out.q = graph_.view(biased, q_bytes);
    out.k = graph_.view(biased, k_bytes);
    out.v = graph_.view(biased, v_bytes);
  } else {
    if (hints_.output_gate) {  // queries and gate side by side
      const Tensor both = graph_.op(fits(CheckedSize(q_bytes) * 2), {normed});
      out.q = graph_.op(q_bytes, {graph_.view(both, q_bytes)});
      out.gate = graph_.view(both, q_bytes);
    } else {
      out.q = graph_.view(graph_.op(q_bytes, {normed}));
    }
    if (!layer.shares_cache || shape_.encoder) {
      out.k = graph_.view(graph_.op(k_bytes, {normed}));
      out.v = graph_.view(graph_.op(v_bytes, {normed}));
    }
  }
  if (!hints_.rope) return out;
  out.q = graph_.in_place(q_bytes, {out.q, positions_});
  if (out.k) out.k = graph_.in_place(k_bytes, {*out.k, positions_});
  return out;
}

LlamaCppGraph::Tensor LlamaCppGraph::attention(const LayerShape& layer, Tensor normed) {
  graph_.set_stage("attention");
  if (layer.attention == Attention::latent) return latent_attention(layer, normed);
  const Qkv qkv = queries_keys_values(layer, normed);
  Tensor out = attend(layer, inputs_of(layer), qkv);
  if (qkv.gate) {
    const std::uint64_t bytes = graph_.bytes(*qkv.gate);
    out = graph_.in_place(bytes, {out, graph_.view(same(graph_.op(bytes, {*qkv.gate})))});
  }
  return project(shape_.hidden, out);
}

// Quantised caches hold rotated heads, which spreads outliers: a small orthogonal matrix.
LlamaCppGraph::Tensor LlamaCppGraph::rotated(std::optional<Tensor>& rotation, DType type,
                                             std::uint64_t head_dim, Tensor of) {
  constexpr std::uint64_t kSmallest = 64;
  if (traits(type).block_elements == 1 || head_dim % kSmallest != 0) return of;
  std::uint64_t side = kSmallest;
  while (head_dim % (2 * side) == 0) side *= 2;
  if (!rotation) rotation = graph_.input(fits(CheckedSize(side) * side * kF32));
  return graph_.op(graph_.bytes(of), {*rotation, of});
}

void LlamaCppGraph::store_rows(const LayerShape& layer, CacheInputs& inputs, const Qkv& qkv) {
  if (!qkv.k || shape_.encoder) return;
  const std::uint64_t index_bytes = fits(CheckedSize(tokens_) * kI64);
  if (!inputs.key_rows) inputs.key_rows = graph_.input(index_bytes);
  // Latent layers before this one have needed no rows of V. Without flash attention V lies
  // transposed, and each element has an index of its own.
  if (!inputs.value_rows) {
    inputs.value_rows = graph_.input(
        options_.flash_attention ? index_bytes : fits(CheckedSize(index_bytes) * widest_v_));
  }
  graph_.expand(graph_.store({*qkv.k, *inputs.key_rows}));
  Tensor v = *qkv.v;
  const std::uint64_t width = fits(CheckedSize(layer.kv_heads) * layer.value_dim);
  if (!options_.flash_attention && width < widest_v_) v = project(widest_v_, v);
  graph_.expand(graph_.store({v, *inputs.value_rows}));
}

// Flash attention reads no f32: such a cache is copied as f16, all of it.
LlamaCppGraph::Tensor LlamaCppGraph::cache_view(const LayerShape& layer, DType type,
                                                std::uint64_t head_dim) {
  if (type != DType::f32) return graph_.store({});
  const std::uint64_t width = fits(CheckedSize(layer.kv_heads) * head_dim);
  return graph_.op(cache_bytes(layer, DType::f16, width), {});
}

LlamaCppGraph::Tensor LlamaCppGraph::attend(const LayerShape& layer, CacheInputs& inputs,
                                            const Qkv& computed) {
  Qkv qkv = computed;
  if (!shape_.encoder) {
    qkv.q = rotated(inputs.key_rotation, options_.key_type, layer.key_dim, qkv.q);
    if (qkv.k) qkv.k = rotated(inputs.key_rotation, options_.key_type, layer.key_dim, *qkv.k);
    if (qkv.v) qkv.v = rotated(inputs.value_rotation, options_.value_type, layer.value_dim, *qkv.v);
  }
  graph_.expand(qkv.q);
  if (qkv.v) graph_.expand(*qkv.v);
  if (qkv.k) graph_.expand(*qkv.k);
  store_rows(layer, inputs, qkv);

  const std::uint64_t out_bytes = rows(fits(CheckedSize(layer.heads) * layer.value_dim));
  const bool cached = !shape_.encoder;  // an encoder attends to what it has just computed
  Tensor out{};
  if (options_.flash_attention) {
    if (cached) {
      const Tensor k = cache_view(layer, options_.key_type, layer.key_dim);
      const Tensor v = cache_view(layer, options_.value_type, layer.value_dim);
      out = graph_.op(out_bytes, {qkv.q, k, v, mask(layer, inputs)});
    } else {
      const Tensor k = graph_.op(graph_.bytes(*qkv.k) / 2, {*qkv.k});
      const Tensor v = graph_.op(graph_.bytes(*qkv.v) / 2, {*qkv.v});
      out = graph_.op(out_bytes, {qkv.q, k, v, mask(layer, inputs)});
    }
  } else {
    const std::uint64_t kq_bytes = scores(layer, layer.heads);
    Tensor kq = cached ? graph_.op(kq_bytes, {qkv.q}) : graph_.op(kq_bytes, {*qkv.k, qkv.q});
    kq = graph_.in_place(kq_bytes, {kq, mask(layer, inputs)});
    if (cached) {
      out = graph_.op(out_bytes, {kq});
    } else {
      out = graph_.op(out_bytes, {graph_.op(graph_.bytes(*qkv.v), {*qkv.v}), kq});
    }
    out = graph_.op(out_bytes, {out});
  }
  graph_.expand(out);
  if (!cached || !inputs.value_rotation) return out;
  return graph_.op(out_bytes, {*inputs.value_rotation, out});
}

// DeepSeek V3.2: an indexer scores all keys, and a mask of the layer's own lets the best through.
LlamaCppGraph::Tensor LlamaCppGraph::sparse_mask(const LayerShape& layer, CacheInputs& inputs,
                                                 Tensor normed) {
  const Tensor all = mask(layer, inputs);
  if (layer.indexer_dim == 0 && !best_keys_) return all;
  const std::uint64_t chosen = rows(std::min(hints_.indexer_top_k, keys(layer)));
  // Each layer has constants of its own for it, which have memory from the start.
  const Tensor zeros = graph_.in_place(chosen, {graph_.input(chosen)});
  graph_.expand(zeros);
  // A layer without an indexer takes what the last one chose.
  if (layer.indexer_dim != 0) best_keys_ = best_keys(layer, all, normed);
  const Tensor none = graph_.op(graph_.bytes(all), {all});
  graph_.expand(graph_.store({zeros, *best_keys_, graph_.view(none)}));
  return graph_.op(graph_.bytes(all), {graph_.view(none), all});
}

LlamaCppGraph::Tensor LlamaCppGraph::best_keys(const LayerShape& layer, Tensor mask,
                                               Tensor normed) {
  const std::uint64_t width = fits(CheckedSize(layer.indexer_dim) * hints_.indexer_heads);
  const std::uint64_t chosen = rows(std::min(hints_.indexer_top_k, keys(layer)));
  const Tensor rotated = graph_.op(rows(width), {graph_.view(project(width, normed))});
  const Tensor q = project(width, rotated);
  const Tensor weights = project(hints_.indexer_heads, normed);
  const Tensor scores = graph_.op(rows(keys(layer)), {q, weights, mask});
  return graph_.op(chosen, {graph_.op(chosen, {scores})});
}

// Keys and values are absorbed into the query, so that all heads read one latent row a token.
LlamaCppGraph::Tensor LlamaCppGraph::latent_attention(const LayerShape& layer, Tensor normed) {
  const std::uint64_t rank =
      hints_.latent_rank != 0 ? std::min(hints_.latent_rank, layer.key_dim) : layer.key_dim;
  const std::uint64_t rotated_dim = layer.key_dim - rank;
  const auto heads = [&](std::uint64_t dim) { return rows(fits(CheckedSize(layer.heads) * dim)); };
  CacheInputs& inputs = inputs_of(layer);

  const Tensor q = graph_.op(heads(hints_.latent_key), {normed});
  const Tensor row = project(layer.key_dim, normed);
  const Tensor q_rope =
      graph_.in_place(heads(rotated_dim), {graph_.view(q, heads(rotated_dim)), positions_});
  const Tensor k_rope =
      graph_.in_place(rows(rotated_dim), {graph_.view(row, rows(rotated_dim)), positions_});
  const Tensor latent =
      graph_.view(same(graph_.in_place(rows(rank), {graph_.view(row, rows(rank))})));
  const Tensor absorbed = graph_.op(heads(rank), {graph_.view(q, heads(rank))});
  const Tensor query =
      graph_.op(heads(layer.key_dim), {graph_.view(absorbed, heads(rank)), q_rope});
  const Tensor joined = graph_.op(rows(layer.key_dim), {latent, k_rope});
  graph_.expand(query);
  graph_.expand(latent);
  graph_.expand(joined);
  if (!inputs.key_rows) inputs.key_rows = graph_.input(fits(CheckedSize(tokens_) * kI64));
  graph_.expand(graph_.store({joined, *inputs.key_rows}));

  Tensor out{};
  if (options_.flash_attention) {
    const Tensor k = cache_view(layer, options_.key_type, layer.key_dim);
    const Tensor v = cache_view(layer, options_.key_type, rank);
    graph_.expand(k);
    graph_.expand(v);
    out = graph_.op(heads(rank), {query, k, v, sparse_mask(layer, inputs, normed)});
    out = graph_.op(heads(hints_.latent_value), {graph_.view(out, heads(rank))});
    out = graph_.view(out, heads(hints_.latent_value));
  } else {
    const std::uint64_t kq_bytes = scores(layer, layer.heads);
    const Tensor products = graph_.op(kq_bytes, {query});
    graph_.expand(products);
    const Tensor kq = graph_.in_place(kq_bytes, {products, sparse_mask(layer, inputs, normed)});
    // V is a part of K's rows, and is transposed for the product.
    const Tensor v = graph_.op(cache_bytes(layer, options_.key_type, rank), {});
    out = graph_.op(heads(hints_.latent_value), {graph_.op(heads(rank), {v, kq})});
  }
  out = graph_.op(heads(hints_.latent_value), {out});
  graph_.expand(out);
  return project(shape_.hidden, out);
}

LlamaCppGraph::Tensor LlamaCppGraph::feed_forward(const LayerShape& layer, Tensor normed) {
  std::optional<Tensor> out;
  if (layer.experts != 0) {
    graph_.set_stage("experts");
    out = experts(layer, normed);
  } else if (layer.ffn != 0) {
    graph_.set_stage("feed-forward");
    out = dense(layer.ffn, normed);
  }
  if (layer.shared_ffn != 0) {
    const Tensor shared = dense(layer.shared_ffn, normed);
    out = out ? sum(*out, shared) : shared;
  }
  return out ? *out : normed;
}

LlamaCppGraph::Tensor LlamaCppGraph::dense(std::uint64_t width, Tensor normed) {
  if (hints_.gated_ffn && hints_.fused_gate_up) {
    const Tensor both = project(fits(CheckedSize(width) * 2), normed);
    return project(shape_.hidden, project(width, both));
  }
  const Tensor up = project(width, normed);
  if (!hints_.gated_ffn) return project(shape_.hidden, same(up));
  const Tensor gate = project(width, normed);
  return project(shape_.hidden, graph_.op(rows(width), {gate, up}));
}

LlamaCppGraph::Tensor LlamaCppGraph::experts(const LayerShape& layer, Tensor normed) {
  const std::uint64_t used = layer.experts_used;
  const auto each = [&](std::uint64_t width) { return rows(fits(CheckedSize(used) * width)); };
  const Tensor probabilities = same(project(layer.experts, normed));
  const Tensor sorted = project(layer.experts, probabilities);
  const Tensor chosen = graph_.view(sorted, each(1));
  const Tensor weights = graph_.view(graph_.op(each(1), {graph_.view(probabilities), chosen}));
  const Tensor total = same(graph_.op(rows(1), {weights}));
  const Tensor normed_weights = graph_.view(graph_.in_place(each(1), {weights, total}));
  graph_.expand(normed_weights);

  const Tensor input = graph_.view(normed);
  const std::uint64_t width = each(layer.expert_ffn);
  const bool fused = hints_.gated_ffn && hints_.fused_expert_gate_up;
  Tensor inner = graph_.op(fused ? fits(CheckedSize(width) * 2) : width, {input, chosen});
  if (fused) {
    inner = graph_.op(width, {graph_.view(inner, width), graph_.view(inner, width)});
  } else if (hints_.gated_ffn) {
    const Tensor gate = graph_.op(width, {input, chosen});
    inner = graph_.op(width, {gate, inner});
  } else {
    inner = same(inner);
  }
  Tensor down = graph_.op(each(shape_.hidden), {inner, chosen});
  down = graph_.in_place(each(shape_.hidden), {down, normed_weights});
  graph_.expand(down);
  // The experts' parts are summed up one after the other, in the memory of the first sum.
  const std::uint64_t bytes = rows(shape_.hidden);
  const Tensor out = graph_.op(bytes, {graph_.view(down, bytes), graph_.view(down, bytes)});
  graph_.expand(out);
  return out;
}

}  // namespace tapedeck::internal
