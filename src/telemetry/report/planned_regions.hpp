/// @file
/// The regions of a layout's plans, as a recording has them.
#pragma once

#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::internal {

/// Of the host, then of each device.
[[nodiscard]] std::vector<RecordedRegion> planned_regions(const Layout& layout);

}  // namespace tapedeck::internal
