// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "model/parameter_collector.hpp"

namespace tapedeck::internal {
namespace {

// The width in which tokens are embedded. Where it is not that of the layers, there are projections
// between them. Source: OPTDecoder of transformers.
std::uint64_t add_embedding_projections(ParameterCollector& to) {
  if (!to.is_of(Family::opt)) return to.hidden;
  const std::uint64_t width = to.figure_of_key("word_embed_proj_dim", to.hidden);
  if (width != to.hidden) to.add_matrix(outside("embedding_projection"), width, to.hidden, 2);
  return width;
}

// OPT has none if its layers end with their norms.
bool has_final_norm(const ParameterCollector& to) {
  if (to.is_of(Family::bert)) return false;
  if (!to.is_of(Family::opt)) return true;
  return to.figures.flag("do_layer_norm_before").value_or(true) &&
         !to.says("_remove_final_layer_norm");
}

void add_outside(ParameterCollector& to) {
  const std::uint64_t width = add_embedding_projections(to);
  to.add_parameter(outside("embedding", Part::embedding), ParameterKind::embedding,
                   to.shape.vocabulary, width);
  if (to.has(kPositions)) {
    constexpr std::uint64_t kOptOffset = 2;  // OPT leaves two rows of the table unused.
    const std::uint64_t rows = to.shape.context + (to.has(kOffsetPositions) ? kOptOffset : 0);
    to.add_parameter(outside("positions", Part::position_embedding), ParameterKind::embedding, rows,
                     to.hidden);
  }
  if (to.has(kEmbeddingNorm)) {
    to.add_norm(outside("embedding_norm", Part::embedding_norm), to.hidden);
  }
  if (has_final_norm(to)) to.add_norm(outside("final_norm", Part::final_norm), to.hidden);
  if (!to.shape.tied) {
    to.add_parameter(outside("head", Part::head), ParameterKind::head, to.shape.vocabulary, width);
  }
  if (to.has(kHeadBias) || to.says("lm_head_bias")) {
    to.add_bias(bias_of(outside("head", Part::head), "head_bias"), to.shape.vocabulary);
  }
}

// One norm before each part, and with kFourNorms another one after it.
void add_norms(ParameterCollector& to, const LayerShape& layer) {
  const bool mixes = layer.attention != Attention::none || layer.recurrence != Recurrence::none ||
                     to.is_of(Family::mllama);
  const bool feeds = layer.ffn != 0 || layer.experts != 0;
  std::uint64_t parts = (mixes ? 1U : 0U) + (feeds ? 1U : 0U);
  // The parts of Falcon-7B are parallel and share one norm; later Falcons have two norms again.
  const bool beside = to.says("parallel_attn") && !to.says("new_decoder_architecture");
  if (to.has(kOneNorm) || beside) parts = 1;
  to.add_norm({"layers.norm", Part::norm}, to.hidden, to.has(kFourNorms) ? 2 * parts : parts);
}

void add_query_key_norms(ParameterCollector& to, const LayerShape& layer) {
  const bool wide = to.has(kWideNorms);
  const bool asked = to.has(kOptionalHeadNorms) && to.says("use_qk_norm");
  if (!wide && !to.has(kHeadNorms) && !asked) return;
  to.add_norm({"layers.attention.q_norm", Part::attention_inner_norm},
              (wide ? layer.heads : 1) * layer.key_dim);
  to.add_norm({"layers.attention.k_norm", Part::attention_inner_norm},
              (wide ? layer.kv_heads : 1) * layer.key_dim);
}

void add_attention(ParameterCollector& to, const LayerShape& layer) {
  const bool all = to.says("attention_bias") || to.says("bias");
  const bool input_bias =
      to.has(kQkvBias) || all || to.says("use_qkv_bias") || to.says("add_qkv_bias");
  const bool output_bias = to.has(kOutputBias) || (all && !to.has(kInputBiasOnly));
  const std::uint64_t queries = layer.heads * layer.key_dim;
  to.add_projection({"layers.attention.q", Part::query},
                    to.has(kOutputGate) ? 2 * queries : queries, to.hidden, input_bias);
  to.add_projection({"layers.attention.k", Part::key}, layer.kv_heads * layer.key_dim, to.hidden,
                    input_bias);
  // In the full-attention layers of Gemma 4, V may be K.
  const bool one = to.says("attention_k_eq_v") && layer.attention == Attention::full;
  const std::uint64_t values = one ? 0 : layer.kv_heads * layer.value_dim;
  to.add_projection({"layers.attention.v", Part::value}, values, to.hidden, input_bias);
  to.add_projection({"layers.attention.output", Part::attention_output}, to.hidden,
                    layer.heads * layer.value_dim, output_bias);
  add_query_key_norms(to, layer);
  const bool windowed = layer.attention == Attention::windowed;
  const bool asked = to.says(windowed ? "add_swa_attention_sink_bias"  // MiMo-V2
                                      : "add_full_attention_sink_bias");
  if (to.has(kSinks) || asked) {
    to.add_other({"layers.attention.sinks", Part::attention_other}, 1, layer.heads);
  }
}

// Source: MllamaCrossAttentionDecoderLayer of transformers.
void add_cross_attention(ParameterCollector& to) {
  const std::uint64_t heads = to.figures.get(Figure::heads, 1);
  const std::uint64_t size = heads == 0 ? 0 : to.hidden / heads;
  const std::uint64_t cached = to.figures.get(Figure::kv_heads, heads) * size;
  to.add_matrix({"layers.cross_attention.q", Part::query}, to.hidden, to.hidden);
  to.add_matrix({"layers.cross_attention.k", Part::key}, cached, to.hidden);
  to.add_matrix({"layers.cross_attention.v", Part::value}, cached, to.hidden);
  to.add_matrix({"layers.cross_attention.output", Part::attention_output}, to.hidden, to.hidden);
  // Norms of queries and keys.
  to.add_norm({"layers.cross_attention.norm", Part::attention_inner_norm}, size, 2);
  to.add_other({"layers.cross_attention.gate", Part::attention_other}, 1, 1, 2);
}

// Source: DeepseekV3Attention of transformers.
void add_low_rank_attention(ParameterCollector& to, const LayerShape& layer) {
  const std::uint64_t nope = to.figures.get(Figure::nope_dim, 0);
  const std::uint64_t rope = to.figures.get(Figure::rope_dim, 0);
  const std::uint64_t value = to.figures.get(Figure::value_dim, to.hidden / layer.heads);
  const std::uint64_t rank = to.figures.get(Figure::kv_lora, 0);
  const std::uint64_t queries = layer.heads * (nope + rope);
  if (const auto query_rank = to.figures.find(Figure::q_lora)) {
    to.add_matrix({"layers.attention.q_a", Part::query_low_rank}, *query_rank, to.hidden);
    to.add_norm({"layers.attention.q_a_norm", Part::attention_inner_norm}, *query_rank);
    to.add_matrix({"layers.attention.q_b", Part::query}, queries, *query_rank);
  } else {
    to.add_matrix({"layers.attention.q", Part::query}, queries, to.hidden);
  }
  to.add_matrix({"layers.attention.kv_a", Part::latent}, rank + rope, to.hidden);
  to.add_norm({"layers.attention.kv_a_norm", Part::attention_inner_norm}, rank);
  to.add_matrix({"layers.attention.kv_b", Part::latent_key_value}, layer.heads * (nope + value),
                rank);
  to.add_matrix({"layers.attention.output", Part::attention_output}, to.hidden,
                layer.heads * value);
}

void add_dense(ParameterCollector& to, std::uint64_t width, bool shared) {
  if (width == 0) return;
  const bool gated = !to.has(kPlainFfn);
  ParameterLabel in = {"layers.ffn", gated ? Part::gate_up : Part::up};
  if (shared) in = {"layers.shared_expert", gated ? Part::shared_gate_up : Part::shared_up};
  const ParameterLabel out = {"layers.ffn.down", shared ? Part::shared_down : Part::down};
  to.add_matrix(in, width, to.hidden, gated ? 2 : 1);
  to.add_matrix(out, to.hidden, width);
  if (!to.has(kFfnBias) && !to.says("mlp_bias")) return;
  to.add_bias(bias_of(in), width, gated ? 2 : 1);
  to.add_bias(bias_of(out), to.hidden);
}

void add_experts(ParameterCollector& to, const LayerShape& layer) {
  const std::uint64_t branches = to.has(kPlainFfn) ? 1 : 2;
  to.add_matrix({"layers.router", Part::router}, layer.experts, to.hidden);
  const bool corrected = to.has(kRouterCorrection) || to.says("use_routing_bias") ||
                         to.figures.text("topk_method") == "noaux_tc";
  if (to.has(kRouterBias) || corrected) {
    to.add_bias({"layers.router_bias", Part::router, Piece::bias}, layer.experts);
  }
  const ParameterLabel in = {"layers.experts",
                             branches == 1 ? Part::expert_up : Part::expert_gate_up};
  const ParameterLabel out = {"layers.experts.down", Part::expert_down};
  to.add_parameter(in, ParameterKind::expert, layer.expert_ffn, to.hidden,
                   branches * layer.experts);
  to.add_parameter(out, ParameterKind::expert, to.hidden, layer.expert_ffn, layer.experts);
  if (to.has(kExpertBias)) {
    to.add_bias(bias_of(in), layer.expert_ffn, branches * layer.experts);
    to.add_bias(bias_of(out), to.hidden, layer.experts);
  }
  add_dense(to, layer.shared_ffn, true);
  if (to.has(kSharedGate) && layer.shared_ffn != 0) {
    to.add_matrix({"layers.shared_expert.gate", Part::shared_other}, 1, to.hidden);
  }
}

void add_layer(ParameterCollector& to, const LayerShape& layer) {
  add_norms(to, layer);
  // Layers of Llama 3.2 without self-attention attend to an image.
  if (to.is_of(Family::mllama) && layer.attention == Attention::none) add_cross_attention(to);
  if (layer.attention != Attention::none) {
    if (to.has(kLowRank)) {
      add_low_rank_attention(to, layer);
    } else {
      add_attention(to, layer);
    }
  }
  add_state(to, layer);
  add_dense(to, layer.ffn, false);
  if (layer.experts != 0) add_experts(to, layer);
}

}  // namespace

void ParameterCollector::add_parameter(const ParameterLabel& label, ParameterKind kind,
                                       std::uint64_t rows, std::uint64_t columns,
                                       std::uint64_t count) {
  if (rows == 0 || columns == 0 || count == 0) return;
  const auto [at, added] = index_.try_emplace({label.name, rows, columns}, parameters_.size());
  if (added) {
    const PartId id = {.part = label.part, .piece = label.piece, .every_layer = label.every_layer};
    parameters_.push_back({std::string(label.name), kind, 0, rows, columns, id});
  }
  parameters_[at->second].count += count;
}

std::uint64_t ParameterCollector::figure_of_key(std::string_view key,
                                                std::uint64_t otherwise) const {
  const auto stated = figures.real(key);
  if (!stated) return otherwise;
  const bool honest = *stated >= 0 && *stated <= static_cast<double>(Figures::kLargest);
  if (honest) return static_cast<std::uint64_t>(*stated);
  figures.throw_figure_error(*figures.entry(key), FormatFault::out_of_range,
                             "is outside the range of any model");
}

void ParameterCollector::add_norm(const ParameterLabel& label, std::uint64_t width,
                                  std::uint64_t count) {
  if (is_of(Family::olmo)) return;
  add_parameter(label, ParameterKind::norm, 1, width, count);
  if (has(kNormBias)) {
    add_bias(bias_of(label, "norm_bias"), width, count);
  }
}

void ParameterCollector::add_projection(const ParameterLabel& label, std::uint64_t rows,
                                        std::uint64_t columns, bool bias) {
  add_matrix(label, rows, columns);
  if (bias) add_bias(bias_of(label), rows);
}

std::vector<Parameter> make_parameters(const Figures& figures, const ModelShape& shape) {
  if (figures.architecture().has(kUnknownParameters)) return {};
  // Gemma 4 has a dense part in addition to its experts; its tensors are not known here.
  if (figures.says("enable_moe_block")) return {};
  ParameterCollector collector(figures, shape);
  add_outside(collector);
  for (const LayerShape& layer : shape.layers) add_layer(collector, layer);
  add_family(collector);
  return std::move(collector).take();
}

std::optional<std::uint64_t> parameters_of_layer(const Figures& figures, const ModelShape& shape,
                                                 const LayerShape& layer) {
  ParameterCollector collector(figures, shape);
  add_layer(collector, layer);
  ModelShape one;
  one.parameters = std::move(collector).take();
  return one.parameter_count();
}

}  // namespace tapedeck::internal
