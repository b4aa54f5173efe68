/// @file
/// The peaks of a phase, tape by tape.
#pragma once

#include <cstddef>

#include "layout/stat_walk.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"

namespace tapedeck::internal {

/// Calls `peak_do(place, kind, bytes)` for each tape, the host's first.
template <class PeakDo>
void for_each_peak(const PhaseFigures& phase, PeakDo&& peak_do) {
  for_each_tape_at(Place::host(), phase.host, peak_do);
  for (std::size_t i = 0; i < phase.gpu.size(); ++i) {
    for_each_tape_at(Place::gpu(i), phase.gpu[i], peak_do);
  }
}

}  // namespace tapedeck::internal
