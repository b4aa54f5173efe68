// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Profile`: the engine whose memory a plan describes.
#pragma once

#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/certainty.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {
struct CacheCells;
}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

struct Plan;
struct PlanOptions;

/// The planner functions of an engine. Weights take the same bytes in every engine, but caches and
/// buffers do not. Thread-safety: a value. Its functions depend only on their arguments.
struct Profile {
  std::string_view name;  ///< For example "native". @pre The characters outlive the profile.
  /// Returns how many tokens the caches hold.
  internal::CacheCells (*plan_cells)(const ModelShape&, const PlanOptions&);
  /// Returns the caches and states of one talk.
  TapePlan (*plan_history)(const ModelShape&, const PlanOptions&, const internal::CacheCells&);
  /// Plans the buffers of a decode step and of a prompt's micro-batch. Sets `scratch`, `peak_stage`
  /// and `prefill_lower_bound` of the plan.
  void (*plan_scratch)(const Model&, const PlanOptions&, const internal::CacheCells&, Plan&);
  /// How near `plan_scratch` is for a model whose shape is exact.
  Certainty scratch_certainty = Certainty::exact;
};

/// The profile that a `Layout` allocates exactly.
[[nodiscard]] Profile native_profile() noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI
