// SPDX-License-Identifier: Apache-2.0
#include "engines/llama_cpp/graph.hpp"

#include <algorithm>

#include "plan/sizes.hpp"
#include "plan/widest_layers.hpp"

namespace tapedeck::internal {

using Tensor = TensorGraph::Tensor;

LlamaCppGraph::LlamaCppGraph(const ModelShape& shape, const PlanOptions& options,
                             const CacheCells& cells)
    : shape_(shape),
      options_(options),
      cells_(cells),
      hints_(shape.graph),
      tokens_(cells.micro_batch),
      outputs_(std::min(cells.micro_batch, options.batch)),
      rows_(tokens_),
      widest_v_(widest_layers(shape).v) {}

TensorGraph::Footprint LlamaCppGraph::measure() {
  set_stage("embedding");
  const CheckedSize index = CheckedSize(tokens_) * sizeof(std::int32_t);
  const Tensor ids = input(index);
  // A prompt may also consist of embeddings; the graph contains both kinds of input.
  const Tensor embeddings = input(rows(shape_.hidden));
  residual_ = project(shape_.hidden, ids);
  expand(residual_);
  expand(embeddings);
  positions_ = input(index);
  output_ids_ = input(index);
  state_ids_ = input(CheckedSize(options_.sequences) * sizeof(std::int32_t));

  add_layer_inputs(ids);
  for (std::size_t i = 0; i < shape_.layers.size(); ++i) {
    add_layer(shape_.layers[i], i + 1 == shape_.layers.size());
  }

  set_stage("logits");
  if (stack_) residual_ = output_rows(merge_stack());
  if (!hints_.late_outputs) rows_ = outputs_;
  if (!shape_.encoder) {
    residual_ = norm(residual_);
    keep(residual_);
    if (hints_.late_outputs) {
      residual_ = output_rows(residual_);
      keep(residual_);
      rows_ = outputs_;
    }
    residual_ = project(shape_.vocabulary, residual_);
  }
  keep(residual_);
  expand(residual_);
  return allocate();
}

Tensor LlamaCppGraph::norm(Tensor from) {
  return same(hints_.layer_norm ? copy(from) : same(from));
}

Tensor LlamaCppGraph::output_rows(Tensor from) {
  return op(bytes(from) / tokens_ * outputs_, {from, output_ids_});
}

void LlamaCppGraph::keep_output_rows(Tensor& a, Tensor& b) {
  a = output_rows(a);
  b = output_rows(b);
  rows_ = outputs_;
}

Tensor LlamaCppGraph::input_once(std::optional<Tensor>& made, CheckedSize bytes) {
  if (!made) made = input(bytes);
  return *made;
}

void LlamaCppGraph::add_layer(const LayerShape& layer, bool last) {
  if (shape_.encoder) return encoder_layer(layer, last);
  if (layer.recurrence == Recurrence::rwkv) return rwkv_layer(layer, last);
  if (!stack_) {
    plain_layer(layer, last);
    if (layer_inputs_) residual_ = combine(residual_, layer_input(residual_));
    return;
  }
  const Tensor predictions = predict_stack();
  residual_ = part(predictions, shape_.hidden);
  plain_layer(layer, false);
  correct_stack(predictions);
}

void LlamaCppGraph::plain_layer(const LayerShape& layer, bool last) {
  Tensor input = residual_;
  Tensor normed = norm(input);
  const bool mixes = layer.attention != Attention::none || layer.recurrence != Recurrence::none;
  Tensor out = mixes ? mixer(layer, normed) : feed_forward(layer, normed);
  if (last && !hints_.late_outputs) {
    keep_output_rows(out, input);
    if (hints_.one_norm) normed = output_rows(normed);
  }
  const bool feeds = layer.ffn != 0 || layer.experts != 0 || layer.shared_ffn != 0;
  if (!mixes || !feeds) {
    residual_ = combine(out, input);
  } else if (hints_.parallel) {
    const Tensor second = feed_forward(layer, norm(input));
    residual_ = combine(combine(second, out), input);
  } else if (hints_.one_norm) {
    residual_ = combine(combine(feed_forward(layer, normed), input), out);
  } else {
    const Tensor middle = combine(out, input);
    residual_ = combine(feed_forward(layer, norm(middle)), middle);
  }
}

// Gemma 3n and 4 have a small extra row for every token and layer. Gemma 3n also has several
// parallel rows of the residual (AltUp).
void LlamaCppGraph::add_layer_inputs(Tensor ids) {
  if (hints_.layer_input != 0) {
    const CheckedSize width = CheckedSize(hints_.layer_input) * shape_.layers.size();
    const Tensor selected = same(view(project(width, ids)));
    expand(selected);
    const Tensor projected = same(view(project(width, residual_)));
    layer_inputs_ = copy(view(combine(projected, selected)));
  }
  if (hints_.residuals < 2) return;
  const Tensor others = project(CheckedSize(shape_.hidden) * (hints_.residuals - 1), residual_);
  stack_ = op(rows(CheckedSize(shape_.hidden) * hints_.residuals), {residual_, same(copy(others))});
}

Tensor LlamaCppGraph::layer_input(Tensor from) {
  if (!layer_inputs_) return from;
  const Tensor gate = same(project(hints_.layer_input, from));
  const Tensor gated = combine(gate, part(*layer_inputs_, hints_.layer_input));
  return norm(project(shape_.hidden, gated));
}

Tensor LlamaCppGraph::predict_stack() {
  const Tensor turned = copy(view(*stack_));
  return combine(copy(view(copy(turned))), *stack_);
}

void LlamaCppGraph::correct_stack(Tensor predictions) {
  const CheckedSize row = rows(shape_.hidden);
  const CheckedSize others = bytes(predictions) - fits(row);
  const Tensor innovation = op(row, {residual_, view(predictions, row)});
  const Tensor scaled = combine(op(bytes(predictions), {innovation}), residual_);
  const Tensor corrected = combine(scaled, predictions);
  const Tensor added = layer_input(copy(view(corrected, row)));
  const Tensor rest = op(others, {view(corrected, others), added});
  stack_ = op(bytes(predictions), {view(corrected, row), rest});
}

Tensor LlamaCppGraph::merge_stack() {
  const CheckedSize row = rows(shape_.hidden);
  const Tensor mixed = same(copy(view(*stack_, bytes(*stack_) - fits(row))));
  return op(row, {view(*stack_, row), view(mixed, row)});
}

// Norms come after attention and feed-forward part, not before them.
void LlamaCppGraph::encoder_layer(const LayerShape& layer, bool last) {
  Tensor input = residual_;
  Tensor out = attention(layer, input);
  if (last) keep_output_rows(out, input);
  const Tensor middle = norm(combine(out, input));
  residual_ = norm(combine(feed_forward(layer, middle), middle));
}

Tensor LlamaCppGraph::mixer(const LayerShape& layer, Tensor normed) {
  if (layer.recurrence == Recurrence::none) return attention(layer, normed);
  if (layer.attention == Attention::none) return recurrent(layer, normed);
  // Attention and a recurrent branch in parallel (Falcon-H1). Each norms the layer's input itself.
  const Tensor out = attention(layer, normed);
  return combine(out, recurrent(layer, hints_.state_norm ? norm(residual_) : normed));
}

Tensor LlamaCppGraph::feed_forward(const LayerShape& layer, Tensor normed) {
  std::optional<Tensor> out;
  if (layer.experts != 0) {
    set_stage("experts");
    out = experts(layer, normed);
  } else if (layer.ffn != 0) {
    set_stage("feed-forward");
    out = dense(layer.ffn, normed);
  }
  if (layer.shared_ffn != 0) {
    const Tensor shared = dense(layer.shared_ffn, normed);
    out = out ? combine(*out, shared) : shared;
  }
  return out.value_or(normed);
}

Tensor LlamaCppGraph::dense(std::uint64_t width, Tensor normed) {
  if (hints_.gated_ffn && hints_.fused_gate_up) {
    const Tensor both = project(CheckedSize(width) * 2, normed);
    return project(shape_.hidden, project(width, both));
  }
  const Tensor up = project(width, normed);
  if (!hints_.gated_ffn) return project(shape_.hidden, same(up));
  const Tensor gate = project(width, normed);
  return project(shape_.hidden, op(rows(width), {gate, up}));
}

Tensor LlamaCppGraph::experts(const LayerShape& layer, Tensor normed) {
  const CheckedSize used = layer.experts_used;
  const Tensor probabilities = same(project(layer.experts, normed));
  const Tensor chosen = part(project(layer.experts, probabilities), used);
  const Tensor weights = view(op(rows(used), {view(probabilities), chosen}));
  const Tensor total = same(project(1, weights));
  const Tensor normed_weights = view(combine(weights, total));
  expand(normed_weights);

  const Tensor tokens = view(normed);
  const CheckedSize width = used * layer.expert_ffn;
  const bool fused = hints_.gated_ffn && hints_.fused_expert_gate_up;
  Tensor inner = op(rows(fused ? width * 2 : width), {tokens, chosen});
  if (fused) {
    inner = op(rows(width), {part(inner, width), part(inner, width)});
  } else if (hints_.gated_ffn) {
    const Tensor gate = op(rows(width), {tokens, chosen});
    inner = op(rows(width), {gate, inner});
  } else {
    inner = same(inner);
  }
  const Tensor down = combine(op(rows(used * shape_.hidden), {inner, chosen}), normed_weights);
  expand(down);
  // The outputs of the experts are added one by one, in the memory of the first sum.
  const Tensor out =
      op(rows(shape_.hidden), {part(down, shape_.hidden), part(down, shape_.hidden)});
  expand(out);
  return out;
}

}  // namespace tapedeck::internal
