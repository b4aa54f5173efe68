/// @file
/// `read_stored_quantization`: the quantization_config of a config.json.
#pragma once

#include "model/figures.hpp"
#include "tapedeck/model/stored_quantization.hpp"

namespace tapedeck::internal {

[[nodiscard]] StoredQuantization read_stored_quantization(const Figures& figures);

}  // namespace tapedeck::internal
