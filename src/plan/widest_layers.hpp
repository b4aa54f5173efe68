// SPDX-License-Identifier: Apache-2.0
/// @file
/// `WidestLayers`: the widths that buffers shared by all layers must have.
#pragma once

#include <cstdint>

#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// Elements per token. Each member is the largest value over all layers of a model.
struct WidestLayers {
  std::uint64_t q = 0;
  std::uint64_t k = 0;
  std::uint64_t v = 0;
  std::uint64_t heads = 0;
  std::uint64_t attention_out = 0;  ///< Heads × value row; with MLA, heads × latent row.
  std::uint64_t head_dim = 0;       ///< Of the attention output.
  std::uint64_t latent = 0;         ///< MLA's row, which replaces those of K and V.
  std::uint64_t ffn = 0;
  std::uint64_t shared_ffn = 0;
  std::uint64_t experts = 0;
  std::uint64_t experts_used = 0;
  std::uint64_t expert_rows = 0;  ///< Experts used × their width.
  std::uint64_t inner = 0;        ///< Width of the recurrent branch.
  std::uint64_t convolved = 0;    ///< Width of its convolution.
};

/// @throws InvalidArgument if a width does not fit in 64 bits.
[[nodiscard]] WidestLayers widest_layers(const ModelShape& shape);

}  // namespace tapedeck::internal
