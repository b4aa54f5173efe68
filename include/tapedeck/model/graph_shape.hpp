// SPDX-License-Identifier: Apache-2.0
/// @file
/// `GraphShape`: properties of a model's compute graph other than the widths of its layers.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// How a model computes, to the extent that it determines which intermediate results are live at
/// the same time. The reader of a model derives this from the tensors if there are any, otherwise
/// from the metadata and from what is known about the architecture. Thread-safety: a value.
/// @code{.cpp}
/// // compile only
/// const tapedeck::Model model = tapedeck::read_model("falcon-7b.gguf");
/// if (model.shape.graph.one_norm) std::cout << "attention and feed-forward part share a norm\n";
/// @endcode
struct GraphShape {
  bool layer_norm = false;     ///< Norms subtract the mean; ggml computes those into new memory.
  bool gated_ffn = true;       ///< The feed-forward part has gate and up projections, not only up.
  bool one_norm = false;       ///< Attention and feed-forward part read the same normed row.
  bool parallel = false;       ///< Both parts read the layer's input, each through its own norm.
  bool fused_qkv = false;      ///< Queries, keys and values come from one projection.
  bool rope = true;            ///< Queries and keys are rotated by position.
  bool output_gate = false;    ///< The query projection also computes a gate.
  bool fused_gate_up = false;  ///< Gate and up of a dense part come from one projection.
  bool fused_expert_gate_up = false;  ///< Gate and up of an expert come from one projection.
  bool late_outputs = false;          ///< Rows without logits are dropped only after the last norm.
  bool state_norm = false;      ///< Falcon-H1: the recurrent branch norms the input once more.
  bool repeated_heads = false;  ///< Qwen3-Next: keys are repeated for every value head.
  bool split_delta = false;     ///< Kimi: queries, keys and values have separate convolutions.
  bool rwkv6 = false;           ///< RWKV 6, not 7.

  std::uint64_t conv_kernel = 4;       ///< Width of the convolution's kernel, in tokens.
  std::uint64_t state_heads = 0;       ///< Number of heads of a recurrent layer; 0 if not stated.
  std::uint64_t step_rank = 0;         ///< Mamba: dt_rank.
  std::uint64_t latent_rank = 0;       ///< MLA: width of the unrotated part of the latent row.
  std::uint64_t latent_key = 192;      ///< MLA: width of a head's key before it is absorbed.
  std::uint64_t latent_value = 128;    ///< MLA: width of a head's value before it is absorbed.
  std::uint64_t layer_input = 0;       ///< Gemma 3n and 4: width of the extra row for each layer.
  std::uint64_t residuals = 1;         ///< Gemma 3n: number of parallel residual rows.
  std::uint64_t indexer_heads = 64;    ///< DeepSeek V3.2: heads of the sparse indexer.
  std::uint64_t indexer_top_k = 2048;  ///< DeepSeek V3.2: number of keys the indexer selects.
  std::uint64_t lora_rank = 64;        ///< RWKV: rank of the low-rank projections.
  std::uint64_t gate_lora_rank = 64;   ///< RWKV: rank of the gate's low-rank projection.
  std::uint64_t wkv_head = 64;         ///< RWKV: width of a head.
};

}  // namespace tapedeck::inline TAPEDECK_ABI
