/// @file
/// `GraphShape`: what the compute graph of a model depends on besides the widths of its layers.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// How a model computes, as far as it decides which intermediate results live at a time. The reader
/// of a model takes it from the tensors where there are some, and otherwise from the metadata and
/// from what is known of the architecture. Thread-safety: a value.
/// @code{.cpp}
/// // compile only
/// const tapedeck::Model model = tapedeck::read_model("falcon-7b.gguf");
/// if (model.shape.graph.one_norm) std::cout << "attention and feed-forward part share a norm\n";
/// @endcode
struct GraphShape {
  bool layer_norm = false;     ///< Norms subtract the mean; ggml computes those into new memory.
  bool gated_ffn = true;       ///< Gate and up, not up alone.
  bool one_norm = false;       ///< Attention and feed-forward part read the same normed row.
  bool parallel = false;       ///< Both read the layer's input, each through a norm of its own.
  bool fused_qkv = false;      ///< One projection for queries, keys and values.
  bool rope = true;            ///< Positions are rotated into queries and keys.
  bool output_gate = false;    ///< The query projection holds a gate as well.
  bool fused_gate_up = false;  ///< One projection for gate and up of a dense part,
  bool fused_expert_gate_up = false;  ///< and of experts.
  bool late_outputs = false;    ///< Rows without logits are dropped behind the last norm only.
  bool state_norm = false;      ///< Falcon-H1: the state norms the layer's input once more.
  bool repeated_heads = false;  ///< Qwen3-Next: keys are repeated for every head of values.
  bool split_delta = false;     ///< Kimi: queries, keys and values have convolutions of their own.
  bool rwkv6 = false;           ///< RWKV 6, not 7.

  std::uint64_t conv_kernel = 4;
  std::uint64_t state_heads = 0;   ///< Of a recurrent layer; 0: not stated.
  std::uint64_t step_rank = 0;     ///< Mamba's dt_rank.
  std::uint64_t latent_rank = 0;   ///< MLA: the part of the latent row that is not rotated.
  std::uint64_t latent_key = 192;  ///< MLA: a head's key and value before they are absorbed.
  std::uint64_t latent_value = 128;
  std::uint64_t layer_input = 0;       ///< Gemma 3n and 4: a row for every layer, so wide.
  std::uint64_t residuals = 1;         ///< Gemma 3n: rows of the residual side by side.
  std::uint64_t indexer_heads = 64;    ///< DeepSeek V3.2's sparse indexer,
  std::uint64_t indexer_top_k = 2048;  ///< and the keys it lets through.
  std::uint64_t lora_rank = 64;        ///< RWKV's small projections,
  std::uint64_t gate_lora_rank = 64;   ///< and the one of its gate.
  std::uint64_t wkv_head = 64;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
