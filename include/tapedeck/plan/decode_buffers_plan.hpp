// SPDX-License-Identifier: Apache-2.0
/// @file
/// `plan_decode_buffers`: the buffers that one decode step writes, at fixed addresses.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Describes the decode steps to plan for.
struct DecodeBuffersOptions {
  std::uint64_t batch = 1;     ///< Tokens of one step (`max_batch_size`), at least 1.
  DType element = DType::f16;  ///< Activation type; must not be a block type.
  bool int4_weights = false;   ///< Adds `temp_dequant`.
  /// Attention scores of one token over all heads: heads × positions. Attention without flash
  /// attention keeps them in memory, as `scores`. 0 plans no such buffer.
  std::uint64_t score_columns = 0;
};

/// Returns the buffers of a decode step by name: "decode.embed_out", "decode.qkv_out", …
/// "decode.logits". Their dimensions, such as q = heads × head_dim, are the largest over all
/// layers. The buffers are all live at once and never overlap, so a CUDA graph can capture the
/// step. Each is aligned to 256 bytes. A buffer that no layer needs is left out. `payload()` is the
/// exact sum of all buffers.
///
/// `temp_dequant` holds one layer's gate and up projections, hidden × 2·intermediate. A vocabulary
/// projection may be larger than that and must be multiplied without unpacking it first.
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
/// @throws InvalidArgument if the batch is 0, the element type is stored in blocks, or a size does
/// not fit in 64 bits.
[[nodiscard]] TapePlan plan_decode_buffers(const ModelShape& shape,
                                           const DecodeBuffersOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
