/// @file
/// `lay_out_layers`: where the parts of each layer lie on a device.
#pragma once

#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::internal {

/// The layers and the outer tensors of a plan that has no regions yet. Every byte of a model's
/// tensors is in a part of a layer or in a tensor of no layer; tensors of no bytes are left out.
///
/// Parts that lie behind one another in one file are a run, and keep their distance: with a gap of
/// 4 KiB at most, and each at a multiple of 16 bytes from where the run begins. A run begins at a
/// multiple of `kDeviceAlignment`.
/// @throws InvalidArgument for more experts than any model has, and for what does not fit in 64
/// bits.
[[nodiscard]] StreamingPlan lay_out_layers(const Model& model);

}  // namespace tapedeck::internal
