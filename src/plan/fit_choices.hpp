/// @file
/// `fit_choices`: what `fit` decides, from any function that plans.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "tapedeck/plan/budget.hpp"
#include "tapedeck/plan/fit.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI::plan {

using PlanFunction = std::function<Plan(const PlanOptions&)>;

/// All ways to run the model of this shape, ranked as `fit` says; perhaps none fits.
/// @param make  throws InvalidArgument for options that make no sense; those asked for must.
[[nodiscard]] std::vector<FitChoice> fit_choices(const PlanFunction& make, const ModelShape& shape,
                                                 const PlanOptions& options,
                                                 std::uint64_t host_bytes,
                                                 std::optional<std::uint64_t> device_bytes);

}  // namespace tapedeck::inline TAPEDECK_ABI::plan
