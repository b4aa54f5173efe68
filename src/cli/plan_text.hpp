/// @file
/// Models and plans as people and as programs read them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/streaming_plan.hpp"
#include "tapedeck/plan/tensor_parallel.hpp"

namespace tapedeck::cli {

/// The model, in a few aligned lines.
[[nodiscard]] std::string model_text(const Model& model);
/// The breakdown as a table, and the warnings.
[[nodiscard]] std::string plan_text(const Plan& plan, const PlanOptions& options);
/// Every region of every tape, a line each; those of a device where layers are streamed to it.
[[nodiscard]] std::string regions_text(const Plan& plan,
                                       const std::optional<StreamingPlan>& streaming);
[[nodiscard]] std::string ranks_text(const RankPlan& plan);
/// What layer streaming takes, beside the closed form's estimate where the model is one that
/// `StreamingConfig` describes.
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
