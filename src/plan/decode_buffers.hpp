// SPDX-License-Identifier: Apache-2.0
/// @file
/// `decode_buffers`: the buffers of one decode step, for planners that check the options.
#pragma once

#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/decode_buffers_plan.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// @throws InvalidArgument if activations cannot have this type, because it is stored in blocks.
void require_activation_type(const char* argument, DType type);

/// Returns the buffers of `plan_decode_buffers`. Its errors name no option. @pre The batch is not
/// 0, and the element type is not stored in blocks.
/// @throws InvalidArgument if a size does not fit in 64 bits.
[[nodiscard]] TapePlan decode_buffers(const ModelShape& shape, const DecodeBuffersOptions& options);

}  // namespace tapedeck::internal
