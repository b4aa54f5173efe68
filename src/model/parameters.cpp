#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "model/parameter_collector.hpp"

namespace tapedeck::internal {

ParameterCollector::ParameterCollector(const Figures& figures, const Architecture& architecture,
                                       const ModelShape& shape)
    : figures_(figures),
      architecture_(architecture),
      shape_(shape),
      hidden_(shape.hidden),
      input_bias_(architecture.has(kQkvBias)),
      output_bias_(architecture.has(kOutputBias)),
      ffn_bias_(architecture.has(kFfnBias) || says("mlp_bias")) {
  const bool all = says("attention_bias") || says("bias");
  input_bias_ |= all || says("use_qkv_bias") || says("add_qkv_bias");
  output_bias_ |= all && !architecture.has(kInputBiasOnly);
}

void ParameterCollector::add_parameter(const ParameterLabel& label, ParameterKind kind,
                                       std::uint64_t rows, std::uint64_t columns,
                                       std::uint64_t count) {
  if (rows == 0 || columns == 0 || count == 0) return;
  const auto [at, added] = index_.try_emplace({label.name, rows, columns}, parameters_.size());
  if (added) parameters_.push_back({std::string(label.name), kind, 0, rows, columns, label.id});
  parameters_[at->second].count += count;
}

std::uint64_t ParameterCollector::figure_of_key(std::string_view key,
                                                std::uint64_t otherwise) const {
  const auto stated = figures_.real(key);
  if (!stated) return otherwise;
  const bool honest = *stated >= 0 && *stated <= static_cast<double>(Figures::kLargest);
  if (honest) return static_cast<std::uint64_t>(*stated);
  figures_.throw_figure_error(*figures_.entry(key), FormatFault::out_of_range,
                              "is beyond any model");
}

void ParameterCollector::add_norm(const ParameterLabel& label, std::uint64_t width,
                                  std::uint64_t count) {
  if (is_of(Family::olmo)) return;
  add_parameter(label, ParameterKind::norm, 1, width, count);
  if (architecture_.has(kNormBias)) {
    add_bias(bias_of(label, "norm_bias"), width, count);
  }
}

void ParameterCollector::add_projection(const ParameterLabel& label, std::uint64_t rows,
                                        std::uint64_t columns, bool bias) {
  add_matrix(label, rows, columns);
  if (bias) add_bias(bias_of(label), rows);
}

void ParameterCollector::add_outside() {
  add_parameter(outside("embedding", Part::embedding), ParameterKind::embedding, shape_.vocabulary,
                hidden_);
  if (architecture_.has(kPositions)) {
    constexpr std::uint64_t kOptOffset = 2;  // OPT leaves two rows of the table unused.
    const std::uint64_t rows =
        shape_.context + (architecture_.has(kOffsetPositions) ? kOptOffset : 0);
    add_parameter(outside("positions", Part::position_embedding), ParameterKind::embedding, rows,
                  hidden_);
  }
  if (architecture_.has(kEmbeddingNorm)) {
    add_norm(outside("embedding_norm", Part::embedding_norm), hidden_);
  }
  if (!is_of(Family::bert)) add_norm(outside("final_norm", Part::final_norm), hidden_);
  if (!shape_.tied) {
    add_parameter(outside("head", Part::head), ParameterKind::head, shape_.vocabulary, hidden_);
  }
  if (architecture_.has(kHeadBias) || says("lm_head_bias")) {
    add_bias(bias_of(outside("head", Part::head), "head_bias"), shape_.vocabulary);
  }
}

void ParameterCollector::add_layer(const LayerShape& layer) {
  add_norms(layer);
  // What Llama 3.2 attends to in such a layer is an image.
  if (is_of(Family::mllama) && layer.attention == Attention::none) add_cross_attention();
  if (layer.attention != Attention::none) {
    if (architecture_.has(kLowRank)) {
      add_low_rank_attention(layer);
    } else {
      add_attention(layer);
    }
  }
  add_state(layer);
  add_dense(layer.ffn, false);
  if (layer.experts != 0) add_experts(layer);
}

// One before each part, and one after it where there are four.
void ParameterCollector::add_norms(const LayerShape& layer) {
  const bool mixes = layer.attention != Attention::none || layer.recurrence != Recurrence::none ||
                     is_of(Family::mllama);
  const bool feeds = layer.ffn != 0 || layer.experts != 0;
  std::uint64_t parts = (mixes ? 1U : 0U) + (feeds ? 1U : 0U);
  // Falcon-7B's parts stand side by side, behind one norm; later Falcons have two again.
  const bool beside = says("parallel_attn") && !says("new_decoder_architecture");
  if (architecture_.has(kOneNorm) || beside) parts = 1;
  add_norm(of_layers("layers.norm", Part::norm), hidden_,
           architecture_.has(kFourNorms) ? 2 * parts : parts);
}

void ParameterCollector::add_attention(const LayerShape& layer) {
  const std::uint64_t queries = layer.heads * layer.key_dim;
  add_projection(of_layers("layers.attention.q", Part::query),
                 architecture_.has(kOutputGate) ? 2 * queries : queries, hidden_, input_bias_);
  add_projection(of_layers("layers.attention.k", Part::key), layer.kv_heads * layer.key_dim,
                 hidden_, input_bias_);
  // In Gemma 4's wide layers V may be K.
  const bool one = says("attention_k_eq_v") && layer.attention == Attention::full;
  const std::uint64_t values = one ? 0 : layer.kv_heads * layer.value_dim;
  add_projection(of_layers("layers.attention.v", Part::value), values, hidden_, input_bias_);
  add_projection(of_layers("layers.attention.output", Part::attention_output), hidden_,
                 layer.heads * layer.value_dim, output_bias_);
  add_query_key_norms(layer);
  const bool windowed = layer.attention == Attention::windowed;
  const bool asked = says(windowed ? "add_swa_attention_sink_bias"  // MiMo-V2
                                   : "add_full_attention_sink_bias");
  if (architecture_.has(kSinks) || asked) {
    add_other(of_layers("layers.attention.sinks", Part::attention_other), 1, layer.heads);
  }
}

void ParameterCollector::add_query_key_norms(const LayerShape& layer) {
  const bool wide = architecture_.has(kWideNorms);
  const bool asked = architecture_.has(kOptionalHeadNorms) && says("use_qk_norm");
  if (!wide && !architecture_.has(kHeadNorms) && !asked) return;
  add_norm(of_layers("layers.attention.q_norm", Part::attention_inner_norm),
           (wide ? layer.heads : 1) * layer.key_dim);
  add_norm(of_layers("layers.attention.k_norm", Part::attention_inner_norm),
           (wide ? layer.kv_heads : 1) * layer.key_dim);
}

// Source: DeepseekV3Attention of transformers.
void ParameterCollector::add_low_rank_attention(const LayerShape& layer) {
  const std::uint64_t nope = figures_.get(Figure::nope_dim, 0);
  const std::uint64_t rope = figures_.get(Figure::rope_dim, 0);
  const std::uint64_t value = figures_.get(Figure::value_dim, hidden_ / layer.heads);
  const std::uint64_t rank = figures_.get(Figure::kv_lora, 0);
  const std::uint64_t queries = layer.heads * (nope + rope);
  if (const auto query_rank = figures_.find(Figure::q_lora)) {
    add_matrix(of_layers("layers.attention.q_a", Part::query_low_rank), *query_rank, hidden_);
    add_norm(of_layers("layers.attention.q_a_norm", Part::attention_inner_norm), *query_rank);
    add_matrix(of_layers("layers.attention.q_b", Part::query), queries, *query_rank);
  } else {
    add_matrix(of_layers("layers.attention.q", Part::query), queries, hidden_);
  }
  add_matrix(of_layers("layers.attention.kv_a", Part::latent), rank + rope, hidden_);
  add_norm(of_layers("layers.attention.kv_a_norm", Part::attention_inner_norm), rank);
  add_matrix(of_layers("layers.attention.kv_b", Part::latent_key_value),
             layer.heads * (nope + value), rank);
  add_matrix(of_layers("layers.attention.output", Part::attention_output), hidden_,
             layer.heads * value);
}

void ParameterCollector::add_dense(std::uint64_t width, bool shared) {
  if (width == 0) return;
  const bool gated = !architecture_.has(kPlainFfn);
  const ParameterLabel in =
      shared ? of_layers("layers.shared_expert", gated ? Part::shared_gate_up : Part::shared_up)
             : of_layers("layers.ffn", gated ? Part::gate_up : Part::up);
  add_matrix(in, width, hidden_, gated ? 2 : 1);
  const ParameterLabel out = of_layers("layers.ffn.down", shared ? Part::shared_down : Part::down);
  add_matrix(out, hidden_, width);
  if (!ffn_bias_) return;
  add_bias(bias_of(in), width, gated ? 2 : 1);
  add_bias(bias_of(out), hidden_);
}

void ParameterCollector::add_experts(const LayerShape& layer) {
  const std::uint64_t branches = architecture_.has(kPlainFfn) ? 1 : 2;
  add_matrix(of_layers("layers.router", Part::router), layer.experts, hidden_);
  const bool corrected = architecture_.has(kRouterCorrection) || says("use_routing_bias") ||
                         figures_.text("topk_method") == "noaux_tc";
  if (architecture_.has(kRouterBias) || corrected) {
    add_bias(of_layers("layers.router_bias", Part::router, Piece::bias), layer.experts);
  }
  const ParameterLabel in =
      of_layers("layers.experts", branches == 1 ? Part::expert_up : Part::expert_gate_up);
  const ParameterLabel out = of_layers("layers.experts.down", Part::expert_down);
  add_parameter(in, ParameterKind::expert, layer.expert_ffn, hidden_, branches * layer.experts);
  add_parameter(out, ParameterKind::expert, hidden_, layer.expert_ffn, layer.experts);
  if (architecture_.has(kExpertBias)) {
    add_bias(bias_of(in), layer.expert_ffn, branches * layer.experts);
    add_bias(bias_of(out), hidden_, layer.experts);
  }
  add_dense(layer.shared_ffn, true);
  if (architecture_.has(kSharedGate) && layer.shared_ffn != 0) {
    add_matrix(of_layers("layers.shared_expert.gate", Part::shared_other), 1, hidden_);
  }
}

std::vector<Parameter> make_parameters(const Figures& figures, const Architecture& architecture,
                                       const ModelShape& shape) {
  if (architecture.has(kUnknownParameters)) return {};
  // The experts of Gemma 4 stand beside a dense part, which no rule here knows.
  if (figures.says("enable_moe_block")) return {};
  ParameterCollector collector(figures, architecture, shape);
  collector.add_outside();
  for (const LayerShape& layer : shape.layers) collector.add_layer(layer);
  collector.add_family();
  return std::move(collector).take();
}

}  // namespace tapedeck::internal
