/// @file
/// `plan_llama_cpp_scratch`: the compute buffer that llama.cpp (build v0.5.0, CPU) reserves.
#pragma once

#include "plan/cache_cells.hpp"
#include "plan/scratch_plan.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// The scratch of `llama_cpp_profile`.
/// @throws InvalidArgument for figures that do not fit in 64 bits.
[[nodiscard]] ScratchPlan plan_llama_cpp_scratch(const Model& model, const PlanOptions& options,
                                                 const CacheCells& cells);

}  // namespace tapedeck::internal
