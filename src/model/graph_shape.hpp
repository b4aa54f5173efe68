/// @file
/// `graph_shape`: what a model's files say of its compute graph.
#pragma once

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// @param known  nullptr for an architecture that the table does not have.
/// @param tensors  Of a GGUF file, those that an engine computes with; empty elsewhere.
/// @param shape  With architecture and layers.
[[nodiscard]] GraphShape graph_shape(const Figures& figures, const Architecture* known,
                                     const TensorDirectory& tensors, const ModelShape& shape);

/// Whether llama.cpp keeps every token of an architecture, whatever window a file states.
[[nodiscard]] bool engine_is_windowless(std::string_view architecture) noexcept;

}  // namespace tapedeck::internal
