/// @file
/// `plan_weights`: the tensors of a model, region by region.
#pragma once

#include <string>
#include <vector>

#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// A tensor of a model's directory, as it is.
[[nodiscard]] Region region_of(const TensorEntry& tensor);

/// From the tensor directory, one region a tensor, in the order of the file; from a config alone
/// one region for all tensors of a kind ("layers.ffn.gate"), and one for their scales.
/// @param warnings  gets a line for each assumption.
/// @throws InvalidArgument where the model states neither tensors nor parameters, for a type that
/// no weights have, and for figures that do not fit in 64 bits.
[[nodiscard]] TapePlan plan_weights(const Model& model, const PlanOptions& options,
                                    std::vector<std::string>& warnings);

/// True where weights are, or are to be, in 4 bits: a decode step unpacks them into a buffer.
[[nodiscard]] bool has_4_bit_weights(const Model& model, const PlanOptions& options);

}  // namespace tapedeck::internal
