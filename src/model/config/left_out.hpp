// SPDX-License-Identifier: Apache-2.0
/// @file
/// `note_left_out`: what a config describes beside the decoder, with its size.
#pragma once

#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// Adds a warning for a vision tower and for draft layers, which `ModelShape::parameters` leaves
/// out, if their parameters can be counted: their rules are confirmed by published counts, and the
/// config states every figure. Marks the fields that it used; what else describes a tower is left
/// for `note_unused_fields`.
/// @pre `shape` has its layers and parameters.
void note_left_out(const Figures& figures, ModelShape& shape);

}  // namespace tapedeck::internal
