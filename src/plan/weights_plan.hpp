// SPDX-License-Identifier: Apache-2.0
/// @file
/// `plan_weights`: the tensors of a model, region by region.
#pragma once

#include <string>
#include <vector>

#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// Returns the region of a tensor as it is stored in its file.
[[nodiscard]] Region region_of(const TensorEntry& tensor);

/// Plans one region for each tensor of the directory, in the order of the file. If the model has
/// only a config, plans one region for all tensors of a kind ("layers.ffn.gate") and one for their
/// scales. A stated size is one region. If the sizes are unknown, the plan is empty.
/// @param warnings  receives a line for each assumption.
/// @throws InvalidArgument if weights cannot have the requested type, if a size is stated that the
/// model's files or a type contradict, or if a size does not fit in 64 bits.
[[nodiscard]] TapePlan plan_weights(const Model& model, const PlanOptions& options,
                                    std::vector<std::string>& warnings);

/// Returns true if any weights are planned in about 4 bits. A decode step unpacks them into a
/// buffer.
[[nodiscard]] bool has_4_bit_weights(const Model& model, const PlanOptions& options);

}  // namespace tapedeck::internal
