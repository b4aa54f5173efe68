// SPDX-License-Identifier: Apache-2.0
/// @file
/// The rules that derive layers from figures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// The parts that a layer consists of. `attention` states which tokens are cached, not how:
/// `latent` is set later.
struct LayerParts {
  Attention attention = Attention::full;
  bool state = false;
  bool feed_forward = true;
};

/// Determines a layer's parts, from the file's own list of layers if it has one, otherwise by the
/// architecture's rule.
[[nodiscard]] LayerParts layer_parts(const Figures& figures, std::size_t layer);

/// Whether a list of layers contains this one.
[[nodiscard]] bool is_listed(std::span<const std::int64_t> layers, std::size_t layer) noexcept;

/// Derives the properties of a model's compute graph from its files.
/// @param tensors  those of a GGUF file, which an engine computes with; empty for other formats
/// @param shape  must have its architecture and layers
[[nodiscard]] GraphShape graph_shape(const Figures& figures, const TensorDirectory& tensors,
                                     const ModelShape& shape);

/// Sets the hidden width, the context, `count` layers and the graph of `shape`, and adds a warning
/// for each assumption. If `tensors` is not empty, it determines which layers have experts.
/// @throws FormatError for impossible figures.
void make_layers(const Figures& figures, const TensorDirectory& tensors, std::uint64_t count,
                 ModelShape& shape);

}  // namespace tapedeck::internal
