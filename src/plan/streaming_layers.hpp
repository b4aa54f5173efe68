// SPDX-License-Identifier: Apache-2.0
/// @file
/// `lay_out_layers`: arranges the parts of each layer on a device.
#pragma once

#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::internal {

/// Returns a plan that has layers and outer tensors, but no regions yet. Every byte of the model's
/// tensors is in a part of a layer or in a tensor that belongs to no layer. Empty tensors are left
/// out.
///
/// Parts that follow one another in one file form a run and keep their distances. The gaps in a run
/// are at most 4 KiB, and each part is at a multiple of 16 bytes from the start of the run. A run
/// begins at a multiple of `kDeviceAlignment`.
/// @throws InvalidArgument if there are more experts than any model has, or a size does not fit in
/// 64 bits.
[[nodiscard]] StreamingPlan lay_out_layers(const Model& model);

}  // namespace tapedeck::internal
