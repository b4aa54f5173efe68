/// @file
/// `plan_scratch`: the buffers of a decode step and of a micro-batch of a prompt.
#pragma once

#include <cstdint>
#include <string>

#include "plan/cache_cells.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// What goes into a `Plan`.
struct ScratchPlan {
  TapePlan tape{TapeKind::scratch};
  std::string peak_stage;
  std::uint64_t prefill_lower_bound = 0;
};

/// The decode buffers lie one behind the other and live together; the prefill
/// buffers are packed, and lie over the decode buffers, since a layout never does both at a time.
/// @throws InvalidArgument for figures that do not fit in 64 bits, or a type in blocks.
[[nodiscard]] ScratchPlan plan_scratch(const Model& model, const PlanOptions& options,
                                       const CacheCells& cells);

}  // namespace tapedeck::internal
