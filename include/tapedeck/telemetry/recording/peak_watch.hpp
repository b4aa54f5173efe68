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

/// Restarts the peaks of a layout's tapes (`Tape::restart_peak`). A layout can have several watches
/// at the same time, such as those of its recorders and phases: none of them loses a peak that
/// another has restarted.
///
/// Thread-safety: the thread that writes all tapes of the layout, also for construction and
/// destruction.
class PeakWatch {
 public:
  /// Watches `layout`, which must outlive it.
  explicit PeakWatch(Layout& layout) noexcept;
  ~PeakWatch();
  PeakWatch(const PeakWatch&) = delete;
  PeakWatch& operator=(const PeakWatch&) = delete;

  /// Returns the peaks since the last call; in the first call, since anything last restarted them
  /// before the watch began, or since the layout was created. O(talks), no system call.
  [[nodiscard]] LayoutPeaks since_last() noexcept;

 private:
  Layout& layout_;
  PeakWatch* next_;     // of the same layout
  LayoutPeaks most_{};  // peaks that other watches have restarted since the last call
};

}  // namespace tapedeck::inline TAPEDECK_ABI
