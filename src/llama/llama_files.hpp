// SPDX-License-Identifier: Apache-2.0
/// @file
/// Reads a Llama model's hyperparameters and tensors from its files' metadata, and checks that the
/// decoder can compute with them. All checks happen before any weight is read.
#pragma once

#include <cstdint>
#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

/// A tensor of Llama 3: one factor for each rotated pair.
inline constexpr const char* kRotationFactors = "rope_freqs.weight";

/// The model's hyperparameters.
/// @throws FormatError for values that no model can have; with `FormatFault::unsupported` and the
/// key for what the decoder does not support: another format or architecture, experts, some ways of
/// scaling the rotation.
[[nodiscard]] Shape llama_shape(const Model& model);

/// For each part of the model, in the order in which a pass uses them, the indices of its tensors
/// in a directory: the embedding table; each layer, in the order of `layer_arrays`; the final norm
/// and the classifier.
using TensorParts = std::vector<std::vector<std::uint32_t>>;

/// Finds the tensors that the decoder computes with. Checks that all of them exist with the right
/// shapes, and that the model has no others.
/// @throws FormatError; with `FormatFault::unsupported` for types without kernels, and for tensors
/// that the decoder would ignore (biases).
[[nodiscard]] TensorParts find_llama_tensors(const Model& model, const Shape& shape);

/// The angle by which each pair of a head turns per position (`rotation_at`): base^(-2i / size),
/// scaled as the model asks. Reads `kRotationFactors` from the file if it has them.
/// @pre `find_llama_tensors` has checked the tensors
/// @throws FormatError, SystemError.
[[nodiscard]] std::vector<float> rotation_frequencies(const Model& model, const Shape& shape);

}  // namespace tapedeck::llama
