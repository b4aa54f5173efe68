/// @file
/// `PeakWatch`: the most that was in use of each tape since one last asked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The most bytes that were used of each tape. A history's is the sum over its talks, each at its
/// own moment, and so an upper bound; a device's scratch that of its frames.
struct TapePeaks {
  std::uint64_t weights = 0;
  std::uint64_t scratch = 0;
  std::uint64_t history = 0;
};

/// Those of the host's tapes, and of each device's.
struct LayoutPeaks : TapePeaks {
  std::array<TapePeaks, kMostGpus> gpu{};  ///< As many of them as the layout has devices.
};

/// Restarts the peaks of a layout's tapes (`Tape::restart_peak`), for phases and for samples at
/// once: what one of them was told, the other still has to hear. A layout has one at a time.
///
/// Thread-safety: the layout's writer, of all its tapes.
class PeakWatch {
 public:
  enum Asker : std::uint8_t { for_phases, for_samples };

  /// Over a layout, which outlives it.
  explicit PeakWatch(Layout& layout) noexcept : layout_(layout) {}
  PeakWatch(const PeakWatch&) = delete;
  PeakWatch& operator=(const PeakWatch&) = delete;

  /// The peaks since the last call for the same asker; in the first call, since the peaks were last
  /// restarted in any way, or since the layout was made. O(talks), no system call.
  [[nodiscard]] LayoutPeaks since_last(Asker asker) noexcept;

 private:
  Layout& layout_;
  std::array<LayoutPeaks, 2> most_{};  // of each asker, of what the other one ended
};

}  // namespace tapedeck::inline TAPEDECK_ABI
