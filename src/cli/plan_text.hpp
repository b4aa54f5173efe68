/// @file
/// Models and plans as people and as programs read them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/tensor_parallel.hpp"

namespace tapedeck::cli {

/// "28 layers full, 20 layers window 1024".
[[nodiscard]] std::string layer_kinds(const ModelShape& shape);

/// Elements of the tensors where there are any, else what the architecture implies; 0: unknown.
[[nodiscard]] std::uint64_t parameters_of(const Model& model);

/// "weights           1.2 GiB   290 regions": a line of a table.
[[nodiscard]] std::string size_line(std::string_view name, std::uint64_t bytes,
                                    const std::string& note = {});

/// The model, in a few aligned lines.
[[nodiscard]] std::string model_text(const Model& model);
/// The breakdown as a table, and the warnings.
[[nodiscard]] std::string plan_text(const Plan& plan, const PlanOptions& options);
/// Every region of every tape, a line each.
[[nodiscard]] std::string regions_text(const Plan& plan);
/// Those of one tape, without the heading.
[[nodiscard]] std::string tape_regions_text(std::string_view tape, const TapePlan& plan);
[[nodiscard]] std::string ranks_text(const RankPlan& plan);

[[nodiscard]] nlohmann::ordered_json model_json(const Model& model);
[[nodiscard]] nlohmann::ordered_json plan_json(const Model& model, const Plan& plan);
[[nodiscard]] nlohmann::ordered_json regions_json(const Plan& plan);
[[nodiscard]] nlohmann::ordered_json tape_regions_json(const TapePlan& plan);
[[nodiscard]] nlohmann::ordered_json ranks_json(const RankPlan& plan);

}  // namespace tapedeck::cli
