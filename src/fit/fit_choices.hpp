// SPDX-License-Identifier: Apache-2.0
/// @file
/// `fit_choices`: the decision of `fit`, for any function that plans.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "plan/layer_bytes.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// The input of `fit_choices`. Holds references to the arguments of `fit`.
struct FitQuestion {
  /// Plans the model. Throws InvalidArgument for options that are invalid for this model.
  std::function<Plan(const PlanOptions&)> make;
  const ModelShape& shape;
  const PlanOptions& options;
  const HostBudget& host;
  const std::optional<DeviceBudget>& device;
  const FitOptions& least;
  /// Sizes from the model's own tensors. If not set, they are taken from the plan.
  std::optional<LayerBytes> weights{};
};

/// Returns all modes of running the model, ranked as by `fit`; possibly none of them fits.
/// @throws InvalidArgument if `options` are invalid for this model.
[[nodiscard]] std::vector<FitChoice> fit_choices(const FitQuestion& asked);

}  // namespace tapedeck::internal
