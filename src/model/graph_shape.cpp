// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <initializer_list>
#include <set>
#include <string_view>

#include "model/layers.hpp"
#include "model/words.hpp"

namespace tapedeck::internal {
namespace {

// Properties that neither a figure nor a tensor of a file reveals. Source: models/*.cpp of
// llama.cpp.
void read_graph(std::string_view name, GraphShape& graph) {
  graph.late_outputs = has_word(
      "gemma4 gemma4_text gpt-oss gpt_oss nemotron_h nemotron_h_moe qwen3next qwen3_next qwen35 "
      "qwen35moe qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text",
      name);
  graph.state_norm = has_word("falcon-h1 falcon_h1", name);
  graph.repeated_heads = has_word("qwen3next qwen3_next", name);
  graph.split_delta = has_word("kimi-linear kimi_linear kimi_k3", name);
  graph.fused_gate_up = has_word("phi3 phi4 chatglm glm4 modern-bert modernbert", name);
  graph.rwkv6 = has_word("rwkv6 rwkv6qwen2", name);
  graph.fused_qkv = has_word(
      "phi3 phi4 chatglm falcon gptneox gpt_neox mpt bloom gpt2 starcoder gpt_bigcode qwen", name);
  graph.rope = !has_word("mpt bloom jamba nemotron_h nemotron_h_moe", name);
}

void read_traits(const Figures& figures, std::string_view name, GraphShape& graph) {
  const Architecture& architecture = figures.architecture();
  graph.gated_ffn = !architecture.has(kPlainFfn);
  graph.one_norm = architecture.has(kOneNorm);
  graph.output_gate = architecture.has(kOutputGate);
  if (architecture.has(kPositions)) graph.rope = false;
  // The epsilon of RMS norms has its own key, which takes precedence.
  const bool rms =
      figures.entry("attention.layer_norm_rms_epsilon rms_norm_eps norm_eps") != nullptr;
  const bool mean = figures.entry(
                        "attention.layer_norm_epsilon layer_norm_eps layer_norm_epsilon "
                        "layernorm_epsilon") != nullptr;
  // GPT-NeoX is parallel by default.
  if (has_word("gptneox gpt_neox", name)) {
    graph.parallel = figures.flag("use_parallel_residual").value_or(true);
  }
  graph.layer_norm = rms ? false : mean || architecture.has(kNormBias);
}

// The tensors of a GGUF file are exactly those that the engine computes with.
void read_tensors(const TensorDirectory& tensors, const ModelShape& shape, GraphShape& graph) {
  if (tensors.empty()) return;
  std::set<Part> parts;
  for (const TensorEntry& tensor : tensors.entries()) parts.insert(tensor.id.part);
  const auto any = [&](std::initializer_list<Part> of) {
    return std::any_of(of.begin(), of.end(), [&](Part part) { return parts.contains(part); });
  };
  graph.parallel |= any({Part::attention_norm_2}) && !shape.encoder;
  graph.fused_expert_gate_up |= any({Part::expert_gate_up});
  // A gated delta net has a projection of the same name, but attention layers with three.
  graph.fused_qkv = any({Part::query_key_value}) && !any({Part::query});
  graph.fused_gate_up = graph.fused_gate_up && !any({Part::gate});
  if (!any({Part::up, Part::expert_up, Part::shared_up})) return;
  graph.gated_ffn = any({Part::gate, Part::gate_up, Part::expert_gate, Part::expert_gate_up}) ||
                    graph.fused_gate_up;
  // Encoders norm after the feed-forward part, with tensors of another name. OLMo's norms have no
  // weights.
  graph.one_norm = !any({Part::ffn_norm, Part::post_attention_norm}) && !shape.encoder &&
                   shape.architecture != "olmo";
}

void read_figures(const Figures& figures, GraphShape& graph) {
  const auto read = [&](std::string_view keys, std::uint64_t& figure) {
    figure = figures.count(keys).value_or(figure);
  };
  read(
      "ssm.conv_kernel shortconv.l_cache mamba_d_conv conv_kernel conv_L_cache "
      "linear_conv_kernel_dim d_conv",
      graph.conv_kernel);
  read("ssm.time_step_rank mamba_dt_rank time_step_rank", graph.step_rank);
  read("ssm.time_step_rank mamba_num_heads mamba_n_heads linear_num_value_heads",
       graph.state_heads);
  read("attention.kv_lora_rank kv_lora_rank", graph.latent_rank);
  read("attention.key_length_mla qk_head_dim", graph.latent_key);
  read("attention.value_length_mla v_head_dim", graph.latent_value);
  read("embedding_length_per_layer_input hidden_size_per_layer_input", graph.layer_input);
  read("altup.num_inputs altup_num_inputs", graph.residuals);
  read("attention.indexer.head_count index_n_heads", graph.indexer_heads);
  read("attention.indexer.top_k index_topk", graph.indexer_top_k);
  read("attention.decay_lora_rank decay_low_rank_dim", graph.lora_rank);
  read("attention.gate_lora_rank gate_low_rank_dim", graph.gate_lora_rank);
  read("wkv.head_size head_dim", graph.wkv_head);
}

}  // namespace

GraphShape graph_shape(const Figures& figures, const TensorDirectory& tensors,
                       const ModelShape& shape) {
  GraphShape graph;
  read_graph(shape.architecture, graph);
  read_traits(figures, shape.architecture, graph);
  read_tensors(tensors, shape, graph);
  read_figures(figures, graph);
  return graph;
}

}  // namespace tapedeck::internal
