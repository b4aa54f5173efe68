/// @file
/// The rules by which figures become layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// What a layer is made of. `attention` says which tokens it keeps, not how (`latent` is set
/// later).
struct LayerParts {
  Attention attention = Attention::full;
  bool state = false;
  bool feed_forward = true;
};

/// From the file's own list of layers where it has one, else by the architecture's rule.
[[nodiscard]] LayerParts layer_parts(const Figures& figures, std::size_t layer);

/// Whether a list of layers has this one.
[[nodiscard]] bool is_listed(std::span<const std::int64_t> layers, std::size_t layer) noexcept;

/// What a model's files say of its compute graph.
/// @param tensors  Of a GGUF file, those that an engine computes with; empty elsewhere.
/// @param shape  With architecture and layers.
[[nodiscard]] GraphShape graph_shape(const Figures& figures, const TensorDirectory& tensors,
                                     const ModelShape& shape);

/// Fills in hidden width, context, `count` layers and the graph, with a warning for each
/// assumption. `tensors` may be empty; where they are not, they tell which layers have experts.
/// @throws FormatError for figures that cannot be.
void make_layers(const Figures& figures, const TensorDirectory& tensors, std::uint64_t count,
                 ModelShape& shape);

}  // namespace tapedeck::internal
