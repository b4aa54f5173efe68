/// @file
/// Which tensors of a model the decoder computes with, and whether it can: all is checked before a
/// weight is read.
#pragma once

#include <cstdint>
#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

/// Of Llama 3: one factor for each pair that is rotated.
inline constexpr const char* kRotationFactors = "rope_freqs.weight";

/// Tensors by their places in a directory, for each part in which a pass uses the model: the
/// embedding table; each layer, in the order of `layer_arrays`; the last norm and the classifier.
using TensorParts = std::vector<std::vector<std::uint32_t>>;

/// Checks that the tensors are there, in their shapes, and no others.
/// @throws FormatError; with `FormatFault::unsupported` for types that have no kernels, and for
/// tensors that the decoder would leave out (biases).
[[nodiscard]] TensorParts find_llama_tensors(const Model& model, const Shape& shape);

}  // namespace tapedeck::llama
