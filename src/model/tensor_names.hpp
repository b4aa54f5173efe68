// SPDX-License-Identifier: Apache-2.0
/// @file
/// `part_id_of`: the identity of a tensor from its name in a file.
#pragma once

#include <string_view>

#include "tapedeck/base/part_id.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// Derives the identity from a name in the style of GGUF ("blk.3.ffn_up_exps.weight") or of Hugging
/// Face checkpoints ("model.layers.3.mlp.experts.17.up_proj.weight"). The two styles do not
/// conflict. The layer is the first number between dots; the words before it determine the tower
/// that the layer belongs to.
[[nodiscard]] PartId part_id_of(std::string_view tensor);

}  // namespace tapedeck::internal
