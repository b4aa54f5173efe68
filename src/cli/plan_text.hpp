// SPDX-License-Identifier: Apache-2.0
/// @file
/// Models and plans as text for people and as JSON for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/streaming_plan.hpp"
#include "tapedeck/plan/tensor_parallel.hpp"

namespace tapedeck::cli {

/// The model in a few aligned lines.
[[nodiscard]] std::string model_text(const Model& model);
/// One line for each warning; empty if there are none.
[[nodiscard]] std::string warnings_text(const std::vector<std::string>& warnings);
/// "exact", or the certainty of each part if they are not all exact.
[[nodiscard]] std::string certainty_text(const PlanCertainty& certainty);
[[nodiscard]] nlohmann::ordered_json certainty_json(const PlanCertainty& certainty);
/// One line for each library that was stated to take memory; empty if none was.
[[nodiscard]] std::string foreign_text(const std::vector<ForeignMemory>& foreign);
[[nodiscard]] nlohmann::ordered_json foreign_json(const std::vector<ForeignMemory>& foreign);
/// The breakdown as a table, and the warnings.
[[nodiscard]] std::string plan_text(const Plan& plan, const PlanOptions& options);
/// Every region of every tape, one per line; with `streaming`, also the regions of the device.
[[nodiscard]] std::string regions_text(const Plan& plan,
                                       const std::optional<StreamingPlan>& streaming);
[[nodiscard]] std::string ranks_text(const RankPlan& plan);
/// The memory that layer streaming takes, and the estimate of the closed form if `StreamingConfig`
/// can describe the model.
[[nodiscard]] std::string streaming_text(const Model& model, const Plan& plan,
                                         const StreamingPlan& streaming);

[[nodiscard]] nlohmann::ordered_json model_json(const Model& model);
[[nodiscard]] nlohmann::ordered_json plan_json(const Model& model, const Plan& plan);
[[nodiscard]] nlohmann::ordered_json regions_json(const Plan& plan,
                                                  const std::optional<StreamingPlan>& streaming);
[[nodiscard]] nlohmann::ordered_json ranks_json(const RankPlan& plan);
[[nodiscard]] nlohmann::ordered_json streaming_json(const Model& model, const Plan& plan,
                                                    const StreamingPlan& streaming);

}  // namespace tapedeck::cli
