/// @file
/// Which tensors an architecture implies.
#pragma once

#include <vector>

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// Text decoder, embeddings and head of a config's model, whose layers are made already; empty
/// where the table does not know all of its tensors.
[[nodiscard]] std::vector<Parameter> make_parameters(const Figures& figures,
                                                     const Architecture& architecture,
                                                     const ModelShape& shape);

}  // namespace tapedeck::internal
