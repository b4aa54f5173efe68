/// @file
/// What a model's files say of a Llama model, and whether the decoder can compute with it: all is
/// checked before a weight is read.
#pragma once

#include <cstdint>
#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

/// Of Llama 3: one factor for each pair that is rotated.
inline constexpr const char* kRotationFactors = "rope_freqs.weight";

/// The model's figures.
/// @throws FormatError for figures that make no model; with `FormatFault::unsupported`, which names
/// it, for what is not decoded: another format or architecture, experts, ways of scaling the
/// rotation.
[[nodiscard]] Shape llama_shape(const Model& model);

/// Tensors by their places in a directory, for each part in which a pass uses the model: the
/// embedding table; each layer, in the order of `layer_arrays`; the last norm and the classifier.
using TensorParts = std::vector<std::vector<std::uint32_t>>;

/// Which tensors the decoder computes with. Checks that they are there, in their shapes, and no
/// others.
/// @throws FormatError; with `FormatFault::unsupported` for types that have no kernels, and for
/// tensors that the decoder would leave out (biases).
[[nodiscard]] TensorParts find_llama_tensors(const Model& model, const Shape& shape);

/// How far each pair of a head turns a position (`rotation_at`): base^(-2i / size), as the model
/// scales it. Reads `kRotationFactors`, where they are there, from the file. @pre the tensors were
/// checked (`find_llama_tensors`)
/// @throws FormatError, SystemError.
[[nodiscard]] std::vector<float> rotation_frequencies(const Model& model, const Shape& shape);

}  // namespace tapedeck::llama
