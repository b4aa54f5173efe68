/// @file
/// `plan_decode_buffers`: what one decode step writes, at addresses that never change.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What decode steps are to be like.
struct DecodeBuffersOptions {
  std::uint64_t batch = 1;     ///< Tokens of one step (`max_batch_size`), 1 at least.
  DType element = DType::f16;  ///< Of activations: a type that is not stored in blocks.
  bool int4_weights = false;   ///< Adds `temp_dequant`.
  /// Attention scores of one token, over all heads: heads × positions. They are kept in memory, as
  /// `scores`, by attention that is no flash attention; 0: there are none.
  std::uint64_t score_columns = 0;
};

/// The buffers of a decode step by name: "decode.embed_out", "decode.qkv_out", … "decode.logits";
/// with B tokens, q = heads × head_dim and so on, each the largest over the layers. They all live
/// together and never overlap, so that a CUDA graph can capture the step; each is aligned to 256
/// bytes, and a buffer that no layer needs is left out. `payload()` is the exact sum of all.
///
/// `temp_dequant` holds one layer's gate and up projection, hidden × 2·intermediate; a vocabulary
/// projection may be larger, and is to be multiplied without unpacking it.
/// @code{.cpp}
/// using namespace tapedeck;
/// ModelShape shape;
/// shape.hidden = 1536;
/// shape.vocabulary = 151936;
/// shape.layers.assign(28, {.attention = Attention::full,
///                          .heads = 12, .kv_heads = 2, .key_dim = 128, .value_dim = 128,
///                          .ffn = 8960});
/// const TapePlan buffers = plan_decode_buffers(shape, {.batch = 4});
/// assert(buffers.find("decode.logits")->bytes == 4 * 151936 * 2);
/// @endcode
/// @throws InvalidArgument for a batch of 0, an element type in blocks, and figures that do not fit
/// in 64 bits.
[[nodiscard]] TapePlan plan_decode_buffers(const ModelShape& shape,
                                           const DecodeBuffersOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
