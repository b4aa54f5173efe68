/// @file
/// What tensors are, by the names that files give them.
#pragma once

#include <string_view>

#include "tapedeck/base/part_id.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// Reads the identity out of a name in the spelling of GGUF ("blk.3.ffn_up_exps.weight") or of
/// Hugging Face's checkpoints ("model.layers.3.mlp.experts.17.up_proj.weight"), which do not
/// contradict each other. The layer is the first number between dots; the words before it say which
/// tower it counts in.
[[nodiscard]] PartId part_id_of(std::string_view tensor);

}  // namespace tapedeck::internal
