/// @file
/// What a model's files say of its figures, and whether the decoder can compute with them.
#pragma once

#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

/// @throws FormatError for figures that make no model; with `FormatFault::unsupported`, which names
/// it, for what is not decoded: another format or architecture, experts, ways of scaling the
/// rotation.
[[nodiscard]] Shape llama_shape(const Model& model);

/// How far each pair of a head turns a position (`rotation_at`). Reads `kRotationFactors`, where
/// they are there, from the file. @pre the tensors were checked (`find_llama_tensors`)
/// @throws FormatError, SystemError.
[[nodiscard]] std::vector<float> rotation_frequencies(const Model& model, const Shape& shape);

}  // namespace tapedeck::llama
