// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/profile.hpp"

#include "plan/cache_cells.hpp"
#include "plan/history_plan.hpp"
#include "plan/scratch_plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

Profile native_profile() noexcept {
  return {.name = "native",
          .plan_cells = internal::cache_cells,
          .plan_history =
              [](const ModelShape& shape, const PlanOptions& options,
                 const internal::CacheCells& cells) {
                return internal::plan_history(shape, options, cells, {});
              },
          .plan_scratch = internal::plan_scratch};
}

}  // namespace tapedeck::inline TAPEDECK_ABI
