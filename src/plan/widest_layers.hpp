/// @file
/// `WidestLayers`: the widths that buffers shared by all layers must have.
#pragma once

#include <cstdint>

#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// Elements a token, each the largest over a model's layers.
struct WidestLayers {
  std::uint64_t q = 0;
  std::uint64_t k = 0;
  std::uint64_t v = 0;
  std::uint64_t heads = 0;
  std::uint64_t attention_out = 0;  ///< Heads × value; of latent attention heads × latent row.
  std::uint64_t head_dim = 0;       ///< Of an attention output.
  std::uint64_t latent = 0;         ///< MLA's row, which stands for K and V.
  std::uint64_t ffn = 0;
  std::uint64_t shared_ffn = 0;
  std::uint64_t experts = 0;
  std::uint64_t experts_used = 0;
  std::uint64_t expert_rows = 0;  ///< Experts used × their width.
  std::uint64_t inner = 0;        ///< Of the recurrent branch.
  std::uint64_t convolved = 0;    ///< What its convolution runs over.
};

/// @throws InvalidArgument for figures that do not fit in 64 bits.
[[nodiscard]] WidestLayers widest_layers(const ModelShape& shape);

}  // namespace tapedeck::internal
