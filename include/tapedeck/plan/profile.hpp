/// @file
/// `Profile`: whose memory a plan describes.
#pragma once

#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {
struct CacheCells;
}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

struct Plan;
struct PlanOptions;

/// The planner functions of an engine. Weights take the same bytes in every engine; caches and
/// buffers do not. Thread-safety: a value, whose functions depend on their arguments alone.
struct Profile {
  std::string_view name;  ///< "native". @pre it outlives the profile.
  /// How many tokens the caches hold.
  internal::CacheCells (*plan_cells)(const ModelShape&, const PlanOptions&);
  /// The caches and states of one talk.
  TapePlan (*plan_history)(const ModelShape&, const PlanOptions&, const internal::CacheCells&);
  /// Fills in the buffers of a decode step and of a micro-batch of a prompt: `scratch`,
  /// `peak_stage` and `prefill_lower_bound`.
  void (*plan_scratch)(const Model&, const PlanOptions&, const internal::CacheCells&, Plan&);
};

/// What `Layout` allocates.
[[nodiscard]] Profile native_profile() noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI
