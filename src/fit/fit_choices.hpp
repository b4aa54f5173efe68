/// @file
/// `fit_choices`: what `fit` decides, from any function that plans.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "plan/streaming_sizes.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

using PlanFunction = std::function<Plan(const PlanOptions&)>;

struct FitModel {
  PlanFunction make;  ///< Throws InvalidArgument for options that make no sense.
  const ModelShape& shape;
  /// Of its own tensors; where there are none, what is planned tells.
  std::optional<StreamingSizes> streaming{};
};

struct FitBudget {
  std::uint64_t host_bytes = 0;
  std::optional<std::uint64_t> device_bytes{};
  double bus_bytes_per_second = 0;     ///< 0: not known.
  double least_tokens_per_second = 0;  ///< 0: any.
};

/// All ways to run the model, ranked as `fit` says; perhaps none fits.
/// @throws InvalidArgument where the options asked for make no sense.
[[nodiscard]] std::vector<FitChoice> fit_choices(const FitModel& model, const PlanOptions& options,
                                                 const FitBudget& budget);

}  // namespace tapedeck::internal
