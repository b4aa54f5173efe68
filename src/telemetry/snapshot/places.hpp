/// @file
/// Where tapes lie, as exporters call it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"

namespace tapedeck::internal {

[[nodiscard]] inline std::string gpu_place(std::size_t gpu) { return "gpu" + std::to_string(gpu); }

/// The host is place 0.
[[nodiscard]] inline std::string place_name(std::size_t place) {
  return place == 0 ? "host" : gpu_place(place - 1);
}

/// Whether there is anything to tell: as not of those of the host where a layout is on devices
/// alone.
[[nodiscard]] inline bool was_asked(const TapeStat& tape) noexcept {
  return tape.reserved != 0 || tape.refused != 0 || tape.spills != 0;
}

/// On whichever place.
[[nodiscard]] inline std::uint64_t longest_talk(const Stat& stat) noexcept {
  std::uint64_t longest = stat.longest_talk;
  for (std::size_t i = 0; i < stat.gpus; ++i) {
    longest = std::max(longest, stat.gpu[i].longest_talk);
  }
  return longest;
}

/// Whether any talk ever had tokens: an engine may use its planned regions and count none.
[[nodiscard]] inline bool counts_tokens(const Stat& stat) noexcept {
  return longest_talk(stat) != 0;
}

template <class Tapes, class TapeDo>
void for_each_tape_at(const std::string& place, const Tapes& tapes, TapeDo& tape_do) {
  tape_do(place, "weights", tapes.weights);
  tape_do(place, "scratch", tapes.scratch);
  tape_do(place, "history", tapes.history);
}

/// Calls `place_do(place, tapes)` for the host, whose tapes are the stat's own, and for each
/// device.
template <class PlaceDo>
void for_each_place(const Stat& stat, PlaceDo place_do) {
  place_do(std::string("host"), stat);
  for (std::size_t i = 0; i < stat.gpus; ++i) place_do(gpu_place(i), stat.gpu[i]);
}

/// Calls `tape_do(place, name, tape)` for each tape, the host's first.
template <class TapeDo>
void for_each_tape(const Stat& stat, TapeDo tape_do) {
  for_each_place(stat, [&](const std::string& place, const auto& tapes) {
    for_each_tape_at(place, tapes, tape_do);
  });
}

/// Likewise `peak_do(place, name, bytes)` for each peak of a phase.
template <class PeakDo>
void for_each_peak(const PhaseFigures& phase, PeakDo peak_do) {
  for_each_tape_at("host", phase.host, peak_do);
  for (std::size_t i = 0; i < phase.gpu.size(); ++i) {
    for_each_tape_at(gpu_place(i), phase.gpu[i], peak_do);
  }
}

}  // namespace tapedeck::internal
