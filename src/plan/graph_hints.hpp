/// @file
/// `GraphHints`: what a compute graph depends on and a `ModelShape` does not say.
#pragma once

#include <cstdint>

#include "tapedeck/model/model.hpp"

namespace tapedeck::inline TAPEDECK_ABI::plan {

/// Read from a model's tensors where it has a directory, and from its metadata and the table of
/// architectures otherwise.
struct GraphHints {
  bool layer_norm = false;   ///< Norms subtract the mean; ggml computes those into new memory.
  bool gated_ffn = true;     ///< Gate and up, not up alone.
  bool one_norm = false;     ///< Attention and feed-forward part read the same normed row.
  bool fused_qkv = false;    ///< One projection for queries, keys and values.
  bool rope = true;          ///< Positions are rotated into queries and keys.
  bool output_gate = false;  ///< The query projection holds a gate as well.

  std::uint64_t conv_kernel = 4;
  std::uint64_t state_heads = 0;   ///< Of a recurrent layer; 0: not stated.
  std::uint64_t step_rank = 0;     ///< Mamba's dt_rank.
  std::uint64_t groups = 1;        ///< Mamba 2.
  std::uint64_t latent_rank = 0;   ///< MLA: the part of the latent row that is not rotated.
  std::uint64_t latent_key = 192;  ///< MLA: a head's key and value before they are absorbed.
  std::uint64_t latent_value = 128;
  std::uint64_t lora_rank = 64;       ///< RWKV's small projections,
  std::uint64_t gate_lora_rank = 64;  ///< and the one of its gate.
  std::uint64_t wkv_head = 64;
};

[[nodiscard]] GraphHints graph_hints(const Model& model);

}  // namespace tapedeck::inline TAPEDECK_ABI::plan
