// SPDX-License-Identifier: Apache-2.0
/// @file
/// `PeakWatch`: the most that was in use on each tape since the previous query.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The most bytes in use on each tape. A history's is the sum over its talks, and that of a
/// device's scratch the sum over its frames: an upper bound, since each peaks at its own moment.
struct TapePeaks {
  std::uint64_t weights = 0;
  std::uint64_t scratch = 0;
  std::uint64_t history = 0;
};

/// The peaks of a layout: those of the host's tapes, and in `gpu` those of each device's.
struct LayoutPeaks : TapePeaks {
  std::array<TapePeaks, kMostGpus> gpu{};  ///< One for each device of the layout.
};

/// Restarts the peaks of a layout's tapes (`Tape::restart_peak`) for phases and for samples:
/// neither loses a peak that a query for the other has restarted. A layout can have only one at any
/// time.
///
/// Thread-safety: the thread that writes all tapes of the layout.
class PeakWatch {
 public:
  enum Asker : std::uint8_t { for_phases, for_samples };

  /// Watches `layout`, which must outlive it.
  explicit PeakWatch(Layout& layout) noexcept : layout_(layout) {}
  PeakWatch(const PeakWatch&) = delete;
  PeakWatch& operator=(const PeakWatch&) = delete;

  /// Returns the peaks since the last call for the same asker; in the first call, since anything
  /// last restarted them, or since the layout was created. O(talks), no system call.
  [[nodiscard]] LayoutPeaks since_last(Asker asker) noexcept;

 private:
  Layout& layout_;
  std::array<LayoutPeaks, 2> most_{};  // for each asker, peaks that queries for the other ended
};

}  // namespace tapedeck::inline TAPEDECK_ABI
