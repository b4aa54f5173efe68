/// @file
/// What a GGUF file says of a model of the llama architecture, and whether the decoder can compute
/// with it: all is checked before a weight is read.
#pragma once

#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

/// @throws FormatError for figures that make no model; InvalidArgument, which names it, for what is
/// not decoded: another architecture, experts, ways of scaling the rotation.
[[nodiscard]] Shape gguf_llama_shape(const Model& gguf);

/// Checks that the tensors are there, in their shapes, and no others.
/// @throws FormatError; InvalidArgument for types that have no kernels, and for tensors that the
/// decoder would leave out (biases).
void check_gguf_llama_tensors(const Model& gguf, const Shape& shape);

/// How far each pair of a head turns a position (`rotation_at`). Reads `kRotationFactors`, where
/// they are there, from the file.
/// @throws FormatError, SystemError.
[[nodiscard]] std::vector<float> gguf_llama_frequencies(const Model& gguf, const Shape& shape);

}  // namespace tapedeck::llama
