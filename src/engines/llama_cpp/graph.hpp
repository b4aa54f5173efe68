// SPDX-License-Identifier: Apache-2.0
/// @file
/// `LlamaCppGraph`: the tensors of one micro-batch, in the order in which llama.cpp creates them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>

#include "base/checked_sizes.hpp"
#include "engines/llama_cpp/tensor_graph.hpp"
#include "plan/cache_cells.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// One graph for all architectures, built from the figures of the layers. Operations that do not
/// change which tensors are live at the same time are omitted: biases, head norms and scalings,
/// which ggml all computes in place. Holds references to its arguments.
///
/// llama.cpp reserves memory for the worst case: caches are full, and every token has logits.
/// Source of the rules: its llama-graph.cpp, llama-kv-cache.cpp and models/*.cpp.
class LlamaCppGraph : private TensorGraph {
 public:
  LlamaCppGraph(const ModelShape& shape, const PlanOptions& options, const CacheCells& cells);

  /// @pre not called before
  /// @throws InvalidArgument for sizes that do not fit in 64 bits.
  [[nodiscard]] TensorGraph::Footprint measure();

 private:
  /// The inputs that all layers with the same kind of cache share.
  struct CacheInputs {
    std::optional<Tensor> mask, key_rows, value_rows, key_rotation, value_rotation;
  };
  struct Qkv {
    Tensor q{};
    std::optional<Tensor> k{}, v{};  ///< Not set if the layer reads another layer's cache.
    std::optional<Tensor> gate{};    ///< Gate of the output, if the query projection computes one.
  };
  /// Elements per token of a recurrent layer. It convolves its own rows and two more rows of width
  /// `side`: B and C, or queries and keys.
  struct Branch {
    std::uint64_t inner, convolved, side, heads;
  };

  /// Bytes of one f32 row per token.
  [[nodiscard]] CheckedSize rows(CheckedSize width) const { return width * rows_ * sizeof(float); }
  /// Bytes of one f32 state per sequence.
  [[nodiscard]] CheckedSize states(std::uint64_t elements) const {
    return CheckedSize(elements) * options_.sequences * sizeof(float);
  }

  Tensor project(CheckedSize width, Tensor from) { return op(rows(width), {from}); }
  Tensor part(Tensor of, CheckedSize width) { return view(of, rows(width)); }
  Tensor copy(Tensor from) { return op(bytes(from), {from}); }
  Tensor same(Tensor tensor) { return in_place(bytes(tensor), {tensor}); }
  Tensor combine(Tensor a, Tensor b) { return in_place(bytes(a), {a, b}); }
  Tensor norm(Tensor from);
  Tensor output_rows(Tensor from);
  /// Reduces both tensors, and all rows that follow, to the rows of tokens with logits.
  void keep_output_rows(Tensor& a, Tensor& b);
  /// An input that is created by the first layer that needs it.
  Tensor input_once(std::optional<Tensor>& made, CheckedSize bytes);

  // graph.cpp
  void add_layer(const LayerShape& layer, bool last);
  void plain_layer(const LayerShape& layer, bool last);
  void add_layer_inputs(Tensor ids);
  Tensor layer_input(Tensor from);
  Tensor predict_stack();
  void correct_stack(Tensor predictions);
  Tensor merge_stack();
  void encoder_layer(const LayerShape& layer, bool last);
  Tensor mixer(const LayerShape& layer, Tensor normed);
  Tensor feed_forward(const LayerShape& layer, Tensor normed);
  Tensor dense(std::uint64_t width, Tensor normed);
  Tensor experts(const LayerShape& layer, Tensor normed);

  // attention.cpp
  Tensor attention(const LayerShape& layer, Tensor normed);
  Tensor latent_attention(const LayerShape& layer, Tensor normed);
  Qkv queries_keys_values(const LayerShape& layer, Tensor normed);
  void store_rows(const LayerShape& layer, const Qkv& qkv);
  Tensor attend(const LayerShape& layer, const Qkv& computed);
  Tensor rotated(std::optional<Tensor>& rotation, DType type, std::uint64_t head_dim, Tensor of);
  Tensor mask(const LayerShape& layer);
  Tensor sparse_mask(const LayerShape& layer, Tensor normed);
  Tensor best_keys(const LayerShape& layer, Tensor mask, Tensor normed);
  CacheInputs& inputs_of(const LayerShape& layer);
  Tensor cache_view(const LayerShape& layer, DType type, std::uint64_t head_dim);
  [[nodiscard]] std::uint64_t keys_of(const LayerShape& layer) const;
  [[nodiscard]] CheckedSize score_bytes(const LayerShape& layer) const;
  [[nodiscard]] CheckedSize cache_bytes(const LayerShape& layer, DType type,
                                        std::uint64_t width) const;

  // recurrent.cpp
  Tensor recurrent(const LayerShape& layer, Tensor normed);
  [[nodiscard]] Branch branch_of(const LayerShape& layer, std::uint64_t head_dim) const;
  Tensor load_state(std::uint64_t elements);
  Tensor with_new_state(std::uint64_t width, std::uint64_t state,
                        std::initializer_list<Tensor> from);
  Tensor convolve(Tensor from, std::uint64_t state, std::uint64_t width);
  Tensor mamba1(const LayerShape& layer, Tensor normed);
  Tensor mamba2(const LayerShape& layer, Tensor normed);
  Tensor gated_delta(const LayerShape& layer, Tensor normed);
  Tensor split_delta(const LayerShape& layer, Tensor normed);
  Tensor delta_rule(const LayerShape& layer, std::initializer_list<Tensor> from);
  Tensor short_convolution(const LayerShape& layer, Tensor normed);
  Tensor scan(const LayerShape& layer, std::initializer_list<Tensor> from, Tensor skip);
  void rwkv_layer(const LayerShape& layer, bool last);
  Tensor rwkv6_time_mix(const LayerShape& layer, Tensor normed, Tensor shifted);
  Tensor rwkv_time_mix(const LayerShape& layer, Tensor normed, Tensor shifted);
  Tensor low_rank(std::uint64_t rank, Tensor from);
  Tensor interpolate(Tensor a, Tensor b, std::uint64_t ways);

  const ModelShape& shape_;
  const PlanOptions& options_;
  const CacheCells& cells_;
  const GraphShape& hints_;
  std::uint64_t tokens_;
  std::uint64_t outputs_;   ///< Number of tokens with logits.
  std::uint64_t rows_;      ///< Rows of new tensors: `tokens_`, and `outputs_` at the end.
  std::uint64_t widest_v_;  ///< Width of the widest layer's row of V.
  Tensor positions_ = 0;
  Tensor output_ids_ = 0;
  Tensor state_ids_ = 0;
  Tensor residual_ = 0;
  std::optional<Tensor> first_value_;   ///< RWKV: values of the first layer, mixed into all others.
  std::optional<Tensor> layer_inputs_;  ///< Gemma 3n and 4: the extra rows of all layers.
  std::optional<Tensor> stack_;         ///< Gemma 3n: the parallel rows of the residual.
  std::optional<Tensor> best_keys_;     ///< The keys that the last sparse indexer chose.
  std::array<CacheInputs, 2> inputs_;   ///< Inputs of full caches, and of windowed ones.
};

}  // namespace tapedeck::internal
