#include "telemetry/recording/nvtx.hpp"

#ifdef TAPEDECK_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace tapedeck::internal {

#ifdef TAPEDECK_NVTX
void push_range(const char* name) noexcept { nvtxRangePushA(name); }
void pop_range() noexcept { nvtxRangePop(); }
#else
void push_range(const char* /*name*/) noexcept {}
void pop_range() noexcept {}
#endif

}  // namespace tapedeck::internal
