// SPDX-License-Identifier: Apache-2.0
/// @file
/// `plan_scratch`: the buffers of a decode step and of a micro-batch of a prompt.
#pragma once

#include "plan/cache_cells.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// The native `Profile::plan_scratch`. The decode buffers follow one another and are all live at
/// once. The prefill buffers are packed and share the bytes of the decode buffers, because a layout
/// never runs a decode step and a prefill at the same time.
/// @throws InvalidArgument if a size does not fit in 64 bits, or the activation type is stored in
/// blocks.
void plan_scratch(const Model& model, const PlanOptions& options, const CacheCells& cells,
                  Plan& out);

}  // namespace tapedeck::internal
