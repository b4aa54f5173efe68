// SPDX-License-Identifier: Apache-2.0
/// @file
/// `planned_regions`: the regions of a layout's plans, in the form of a recording.
#pragma once

#include <vector>

#include "layout/stat_walk.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::internal {

/// Returns the planned regions of the host, then those of each device.
[[nodiscard]] inline std::vector<RecordedRegion> planned_regions(const Layout& layout) {
  std::vector<RecordedRegion> regions;
  const auto note = [&regions](Place place, TapeKind tape, const TapePlan& plan) {
    for (const Region& region : plan.regions()) {
      regions.push_back({.place = place,
                         .tape = tape,
                         .name = region.name,
                         .offset = region.offset,
                         .bytes = region.bytes,
                         .bytes_per_token = region.growth.bytes_per_token});
    }
  };
  for_each_tape_at(Place::host(), layout.plan(), note);
  for (std::size_t i = 0; i < layout.gpus(); ++i) {
    for_each_tape_at(Place::gpu(i), layout.gpu(i).plan(), note);
  }
  return regions;
}

}  // namespace tapedeck::internal
