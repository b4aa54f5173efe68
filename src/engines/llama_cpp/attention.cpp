// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include "engines/llama_cpp/graph.hpp"
#include "plan/sizes.hpp"

namespace tapedeck::internal {

using Tensor = TensorGraph::Tensor;

LlamaCppGraph::CacheInputs& LlamaCppGraph::inputs_of(const LayerShape& layer) {
  return inputs_[is_windowed(layer) ? 1 : 0];
}

Tensor LlamaCppGraph::mask(const LayerShape& layer) {
  const std::uint64_t element = options_.flash_attention ? 2 : sizeof(float);
  return input_once(inputs_of(layer).mask, CheckedSize(keys_of(layer)) * rows_ * element);
}

std::uint64_t LlamaCppGraph::keys_of(const LayerShape& layer) const {
  return shape_.encoder ? tokens_ : cells_.rows_of(layer);
}

// The scores of every head's queries with every key, in f32.
CheckedSize LlamaCppGraph::score_bytes(const LayerShape& layer) const {
  return rows(CheckedSize(keys_of(layer)) * layer.heads);
}

// A layer's cache for all streams, with `width` elements per token.
CheckedSize LlamaCppGraph::cache_bytes(const LayerShape& layer, DType type,
                                       std::uint64_t width) const {
  const DTypeTraits& of = traits(type);
  return CheckedSize(keys_of(layer)) * cells_.streams * parts(width, of.block_elements) *
         of.block_bytes;
}

LlamaCppGraph::Qkv LlamaCppGraph::queries_keys_values(const LayerShape& layer, Tensor normed) {
  const CheckedSize q = CheckedSize(layer.heads) * layer.key_dim;
  const CheckedSize k = CheckedSize(layer.kv_heads) * layer.key_dim;
  const CheckedSize v = CheckedSize(layer.kv_heads) * layer.value_dim;
  Qkv out{};
  if (hints_.fused_qkv) {
    const Tensor biased = same(project(q + k + v, normed));
    out = {.q = part(biased, q), .k = part(biased, k), .v = part(biased, v)};
  } else {
    if (hints_.output_gate) {  // queries and gate are in one tensor
      const Tensor both = project(q * 2, normed);
      out.q = copy(part(both, q));
      out.gate = part(both, q);
    } else {
      out.q = view(project(q, normed));
    }
    if (!layer.shares_cache || shape_.encoder) {
      out.k = view(project(k, normed));
      out.v = view(project(v, normed));
    }
  }
  if (!hints_.rope) return out;
  out.q = combine(out.q, positions_);
  if (out.k) out.k = combine(*out.k, positions_);
  return out;
}

Tensor LlamaCppGraph::attention(const LayerShape& layer, Tensor normed) {
  set_stage("attention");
  if (layer.attention == Attention::latent) return latent_attention(layer, normed);
  const Qkv qkv = queries_keys_values(layer, normed);
  Tensor out = attend(layer, qkv);
  if (qkv.gate) out = in_place(bytes(*qkv.gate), {out, view(same(copy(*qkv.gate)))});
  return project(shape_.hidden, out);
}

// With a quantized cache, heads are rotated by an orthogonal matrix, which spreads outliers. Its
// side is the largest power of two that divides a head. A layer whose K contains V has no heads of
// V.
Tensor LlamaCppGraph::rotated(std::optional<Tensor>& rotation, DType type, std::uint64_t head_dim,
                              Tensor of) {
  constexpr std::uint64_t kSmallest = 64;
  if (traits(type).block_elements == 1 || head_dim == 0 || head_dim % kSmallest != 0) return of;
  const std::uint64_t side = std::uint64_t{1} << static_cast<unsigned>(std::countr_zero(head_dim));
  return op(bytes(of), {input_once(rotation, CheckedSize(side) * side * sizeof(float)), of});
}

void LlamaCppGraph::store_rows(const LayerShape& layer, const Qkv& qkv) {
  if (!qkv.k || shape_.encoder) return;
  const CheckedSize index = CheckedSize(tokens_) * sizeof(std::int64_t);
  expand(store({*qkv.k, input_once(inputs_of(layer).key_rows, index)}));
  // The input is created here, because latent layers before this one did not need it. Without flash
  // attention V is stored transposed, and each element has its own index.
  const CheckedSize indices = options_.flash_attention ? index : index * widest_v_;
  Tensor v = *qkv.v;
  const std::uint64_t width = fits(CheckedSize(layer.kv_heads) * layer.value_dim);
  if (!options_.flash_attention && width < widest_v_) v = project(widest_v_, v);
  expand(store({v, input_once(inputs_of(layer).value_rows, indices)}));
}

// Flash attention cannot read f32, so the whole f32 cache is copied as f16.
Tensor LlamaCppGraph::cache_view(const LayerShape& layer, DType type, std::uint64_t head_dim) {
  if (type != DType::f32) return store({});
  return op(cache_bytes(layer, DType::f16, fits(CheckedSize(layer.kv_heads) * head_dim)), {});
}

Tensor LlamaCppGraph::attend(const LayerShape& layer, const Qkv& computed) {
  CacheInputs& inputs = inputs_of(layer);
  const bool cached = !shape_.encoder;  // an encoder attends to what it has just computed
  Qkv qkv = computed;
  if (cached) {
    qkv.q = rotated(inputs.key_rotation, options_.key_type, layer.key_dim, qkv.q);
    if (qkv.k) qkv.k = rotated(inputs.key_rotation, options_.key_type, layer.key_dim, *qkv.k);
    if (qkv.v) qkv.v = rotated(inputs.value_rotation, options_.value_type, layer.value_dim, *qkv.v);
  }
  expand(qkv.q);
  if (qkv.v) expand(*qkv.v);
  if (qkv.k) expand(*qkv.k);
  store_rows(layer, qkv);

  const CheckedSize out_bytes = rows(CheckedSize(layer.heads) * layer.value_dim);
  Tensor out{};
  if (options_.flash_attention) {
    const Tensor k = cached ? cache_view(layer, options_.key_type, layer.key_dim)
                            : op(bytes(*qkv.k) / 2, {*qkv.k});
    const Tensor v = cached ? cache_view(layer, options_.value_type, layer.value_dim)
                            : op(bytes(*qkv.v) / 2, {*qkv.v});
    out = op(out_bytes, {qkv.q, k, v, mask(layer)});
  } else {
    Tensor kq = cached ? op(score_bytes(layer), {qkv.q}) : op(score_bytes(layer), {*qkv.k, qkv.q});
    kq = combine(kq, mask(layer));
    out = cached ? op(out_bytes, {kq}) : op(out_bytes, {copy(*qkv.v), kq});
    out = copy(out);
  }
  expand(out);
  if (!cached || !inputs.value_rotation) return out;
  return op(out_bytes, {*inputs.value_rotation, out});
}

// DeepSeek V3.2: an indexer scores all keys, and the layer has its own mask for the best ones.
Tensor LlamaCppGraph::sparse_mask(const LayerShape& layer, Tensor normed) {
  const Tensor all = mask(layer);
  if (layer.indexer_dim == 0 && !best_keys_) return all;
  // Each layer has its own constants for the mask, which have memory from the start.
  const Tensor zeros = same(input(rows(std::min(hints_.indexer_top_k, keys_of(layer)))));
  expand(zeros);
  // A layer without an indexer uses the keys that the last one chose.
  if (layer.indexer_dim != 0) best_keys_ = best_keys(layer, all, normed);
  const Tensor none = copy(all);
  expand(store({zeros, *best_keys_, view(none)}));
  return op(bytes(all), {view(none), all});
}

Tensor LlamaCppGraph::best_keys(const LayerShape& layer, Tensor mask, Tensor normed) {
  const CheckedSize width = CheckedSize(layer.indexer_dim) * hints_.indexer_heads;
  const Tensor rotated = copy(view(project(width, normed)));
  const Tensor q = project(width, rotated);
  const Tensor weights = project(hints_.indexer_heads, normed);
  const Tensor scores = op(rows(keys_of(layer)), {q, weights, mask});
  return copy(project(std::min(hints_.indexer_top_k, keys_of(layer)), scores));
}

// The key and value projections are absorbed, so that all heads read one latent row per token.
Tensor LlamaCppGraph::latent_attention(const LayerShape& layer, Tensor normed) {
  const std::uint64_t rank =
      hints_.latent_rank != 0 ? std::min(hints_.latent_rank, layer.key_dim) : layer.key_dim;
  const std::uint64_t rotated_dim = layer.key_dim - rank;
  const auto heads = [&](std::uint64_t dim) { return CheckedSize(layer.heads) * dim; };

  const Tensor q = project(heads(hints_.latent_key), normed);
  const Tensor row = project(layer.key_dim, normed);
  const Tensor q_rope = combine(part(q, heads(rotated_dim)), positions_);
  const Tensor k_rope = combine(part(row, rotated_dim), positions_);
  const Tensor latent = view(same(same(part(row, rank))));
  const Tensor absorbed = copy(part(q, heads(rank)));
  const Tensor query = op(rows(heads(layer.key_dim)), {part(absorbed, heads(rank)), q_rope});
  const Tensor joined = op(rows(layer.key_dim), {latent, k_rope});
  expand(query);
  expand(latent);
  expand(joined);
  const CheckedSize index = CheckedSize(tokens_) * sizeof(std::int64_t);
  expand(store({joined, input_once(inputs_of(layer).key_rows, index)}));

  Tensor out{};
  if (options_.flash_attention) {
    const Tensor k = cache_view(layer, options_.key_type, layer.key_dim);
    const Tensor v = cache_view(layer, options_.key_type, rank);
    expand(k);
    expand(v);
    out = op(rows(heads(rank)), {query, k, v, sparse_mask(layer, normed)});
    out = view(project(heads(hints_.latent_value), view(out)));
  } else {
    const Tensor products = op(score_bytes(layer), {query});
    expand(products);
    const Tensor kq = combine(products, sparse_mask(layer, normed));
    // V is part of K's rows and is transposed for the product.
    const Tensor v = op(cache_bytes(layer, options_.key_type, rank), {});
    out = project(heads(hints_.latent_value), op(rows(heads(rank)), {v, kq}));
  }
  out = copy(out);
  expand(out);
  return project(shape_.hidden, out);
}

}  // namespace tapedeck::internal
