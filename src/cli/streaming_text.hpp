/// @file
/// Plans of layer streaming as people and as programs read them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::cli {

/// What layer streaming takes, beside the closed form's estimate where the model is one that
/// `StreamingConfig` describes.
[[nodiscard]] std::string streaming_text(const Model& model, const Plan& plan,
                                         const StreamingPlan& streaming);
[[nodiscard]] nlohmann::ordered_json streaming_json(const Model& model, const Plan& plan,
                                                    const StreamingPlan& streaming);

}  // namespace tapedeck::cli
