/// @file
/// `plan_scratch`: the buffers of a decode step and of a micro-batch of a prompt.
#pragma once

#include "plan/cache_cells.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// As `Profile::plan_scratch`. The decode buffers lie one behind the other and live together; the
/// prefill buffers are packed, and lie over the decode buffers, since a layout never does both at a
/// time.
/// @throws InvalidArgument for figures that do not fit in 64 bits, or a type in blocks.
void plan_scratch(const Model& model, const PlanOptions& options, const CacheCells& cells,
                  Plan& out);

}  // namespace tapedeck::internal
