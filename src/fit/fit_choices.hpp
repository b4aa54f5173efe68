/// @file
/// `fit_choices`: what `fit` decides, from any function that plans.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "plan/layer_bytes.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// What `fit` is asked. Refers to its arguments.
struct FitQuestion {
  /// Plans the model. Throws InvalidArgument for options that make no sense.
  std::function<Plan(const PlanOptions&)> make;
  const ModelShape& shape;
  const PlanOptions& options;
  const HostBudget& host;
  const std::optional<DeviceBudget>& device;
  const FitOptions& least;
  /// Of the model's own tensors; where there are none, what is planned tells.
  std::optional<LayerBytes> weights{};
};

/// All ways to run the model, ranked as `fit` says; perhaps none fits.
/// @throws InvalidArgument where the options asked for make no sense.
[[nodiscard]] std::vector<FitChoice> fit_choices(const FitQuestion& asked);

}  // namespace tapedeck::internal
