#include "engines/llama_cpp/graph_hints.hpp"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "model/architectures.hpp"

namespace tapedeck::internal {
namespace {

/// The figures of a model by either dialect's keys.
class Keys {
 public:
  explicit Keys(const Model& model) : metadata_(model.metadata) {
    const auto architecture = metadata_.string("general.architecture");
    gguf_scope_ = std::string(architecture.value_or(model.shape.architecture)) + ".";
  }

  [[nodiscard]] bool has(std::string_view key) const {
    return metadata_.has(gguf_scope_ + std::string(key)) || metadata_.has(key) ||
           metadata_.has("text_config." + std::string(key));
  }

  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const {
    const auto value = metadata_.boolean(gguf_scope_ + std::string(key));
    return value ? value : metadata_.boolean(key);
  }

  /// The first of the keys that is there and not 0 wins.
  void read(std::initializer_list<std::string_view> keys, std::uint64_t& figure) const {
    for (const std::string_view key : keys) {
      for (const std::string& scope : {gguf_scope_, std::string(), std::string("text_config.")}) {
        const auto value = metadata_.integer(scope + std::string(key));
        if (!value || *value == 0) continue;
        figure = *value;
        return;
      }
    }
  }

 private:
  const Metadata& metadata_;
  std::string gguf_scope_;
};

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What graphs do that no figure and no tensor of a file tells. Source: models/*.cpp of llama.cpp.
void read_graph(std::string_view name, GraphHints& hints) {
  hints.late_outputs =
      is_one_of(name, {"gemma4", "gemma4_text", "gpt-oss", "gpt_oss", "nemotron_h",
                       "nemotron_h_moe", "qwen3next", "qwen3_next", "qwen35", "qwen35moe",
                       "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"});
  hints.state_norm = is_one_of(name, {"falcon-h1", "falcon_h1"});
  hints.repeated_heads = is_one_of(name, {"qwen3next", "qwen3_next"});
  hints.split_delta = is_one_of(name, {"kimi-linear", "kimi_linear", "kimi_k3"});
  hints.fused_gate_up =
      is_one_of(name, {"phi3", "phi4", "chatglm", "glm4", "modern-bert", "modernbert"});
  hints.rwkv6 = is_one_of(name, {"rwkv6", "rwkv6qwen2"});
  hints.fused_qkv = is_one_of(name, {"phi3", "phi4", "chatglm", "falcon", "gptneox", "gpt_neox",
                                     "mpt", "bloom", "gpt2", "starcoder", "gpt_bigcode", "qwen"});
  hints.rope = !is_one_of(name, {"mpt", "bloom", "jamba", "nemotron_h", "nemotron_h_moe"});
}

void read_architecture(const Model& model, const Keys& keys, GraphHints& hints) {
  const Dialect dialect = model.format == ModelFormat::gguf ? Dialect::gguf : Dialect::config;
  const Architecture* row = find_architecture(dialect, model.shape.architecture);
  const std::uint32_t traits = row == nullptr ? 0 : row->traits;
  read_graph(model.shape.architecture, hints);
  hints.gated_ffn = (traits & kPlainFfn) == 0;
  hints.one_norm = (traits & kOneNorm) != 0;
  hints.output_gate = (traits & kOutputGate) != 0;
  if ((traits & kPositions) != 0) hints.rope = false;
  // RMS norms have an epsilon of their own name, which wins where a file states both.
  const bool rms = keys.has("attention.layer_norm_rms_epsilon") || keys.has("rms_norm_eps") ||
                   keys.has("norm_eps");
  const bool mean = keys.has("attention.layer_norm_epsilon") || keys.has("layer_norm_eps") ||
                    keys.has("layer_norm_epsilon") || keys.has("layernorm_epsilon");
  // GPT-NeoX: so by default.
  if (is_one_of(model.shape.architecture, {"gptneox", "gpt_neox"})) {
    hints.parallel = keys.boolean("use_parallel_residual").value_or(true);
  }
  hints.layer_norm = rms ? false : mean || (traits & kNormBias) != 0;
}

// The tensors of a GGUF file are those that the engine computes with.
void read_tensors(const Model& model, GraphHints& hints) {
  if (model.format != ModelFormat::gguf || model.tensors.empty()) return;
  std::set<Part> parts;
  for (const TensorEntry& tensor : model.tensors.entries()) parts.insert(tensor.id.part);
  const auto any = [&](std::initializer_list<Part> of) {
    return std::any_of(of.begin(), of.end(), [&](Part part) { return parts.contains(part); });
  };
  hints.parallel |= any({Part::attention_norm_2}) && !model.shape.encoder;
  hints.fused_expert_gate_up |= any({Part::expert_gate_up});
  // A gated delta net's projection has the same name, beside attention layers of three.
  hints.fused_qkv = any({Part::query_key_value}) && !any({Part::query});
  hints.fused_gate_up = hints.fused_gate_up && !any({Part::gate});
  if (!any({Part::up, Part::expert_up, Part::shared_up})) return;
  hints.gated_ffn = any({Part::gate, Part::gate_up, Part::expert_gate, Part::expert_gate_up}) ||
                    hints.fused_gate_up;
  // Encoders norm after the feed-forward part, under another name; OLMo's norms have no weights.
  hints.one_norm = !any({Part::ffn_norm, Part::post_attention_norm}) && !model.shape.encoder &&
                   model.shape.architecture != "olmo";
}

}  // namespace

GraphHints graph_hints(const Model& model) {
  GraphHints hints;
  const Keys keys(model);
  read_architecture(model, keys, hints);
  read_tensors(model, hints);
  keys.read({"ssm.conv_kernel", "shortconv.l_cache", "mamba_d_conv", "conv_kernel", "conv_L_cache",
             "linear_conv_kernel_dim", "d_conv"},
            hints.conv_kernel);
  keys.read({"ssm.time_step_rank", "mamba_dt_rank", "time_step_rank"}, hints.step_rank);
  keys.read({"ssm.time_step_rank", "mamba_num_heads", "mamba_n_heads", "linear_num_value_heads"},
            hints.state_heads);
  keys.read({"ssm.group_count", "mamba_n_groups", "n_groups"}, hints.groups);
  keys.read({"attention.kv_lora_rank", "kv_lora_rank"}, hints.latent_rank);
  keys.read({"attention.key_length_mla", "qk_head_dim"}, hints.latent_key);
  keys.read({"attention.value_length_mla", "v_head_dim"}, hints.latent_value);
  keys.read({"embedding_length_per_layer_input", "hidden_size_per_layer_input"}, hints.layer_input);
  keys.read({"altup.num_inputs", "altup_num_inputs"}, hints.residuals);
  keys.read({"attention.indexer.head_count", "index_n_heads"}, hints.indexer_heads);
  keys.read({"attention.indexer.top_k", "index_topk"}, hints.indexer_top_k);
  keys.read({"attention.decay_lora_rank", "decay_low_rank_dim"}, hints.lora_rank);
  keys.read({"attention.gate_lora_rank", "gate_low_rank_dim"}, hints.gate_lora_rank);
  keys.read({"wkv.head_size", "head_dim"}, hints.wkv_head);
  // A convolution of one token keeps nothing.
  hints.conv_kernel = std::max<std::uint64_t>(hints.conv_kernel, 2);
  return hints;
}

}  // namespace tapedeck::internal
