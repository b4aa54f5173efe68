#include "tapedeck/telemetry/recording/peak_watch.hpp"

#include <algorithm>
#include <utility>

#include "layout/stat_walk.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

template <class AnyTape>
std::uint64_t ended(AnyTape& tape) noexcept {
  const std::uint64_t most = tape.recent_peak();
  tape.restart_peak();
  return most;
}

TapePeaks ended_peaks(Layout& layout) noexcept {
  return {.weights = ended(layout.weights()),
          .scratch = ended(layout.scratch()),
          .history = layout.restart_history_peaks()};
}

TapePeaks ended_peaks(DeviceLayout& gpu) noexcept {
  TapePeaks peaks = {.weights = ended(gpu.weights()), .history = gpu.restart_history_peaks()};
  for (std::size_t i = 0; i < gpu.frames().size(); ++i)
    peaks.scratch += ended(gpu.frames().frame(i));
  return peaks;
}

}  // namespace

LayoutPeaks PeakWatch::since_last(Asker asker) noexcept {
  LayoutPeaks now = {ended_peaks(layout_)};
  for (std::size_t i = 0; i < layout_.gpus(); ++i) now.gpu[i] = ended_peaks(layout_.gpu(i));
  for (LayoutPeaks& most : most_) {
    internal::for_each_tape(now, layout_.gpus(),
                            [&](Place place, TapeKind kind, std::uint64_t peak) {
                              std::uint64_t& bytes = internal::tape_of(most, place, kind);
                              bytes = std::max(bytes, peak);
                            });
  }
  return std::exchange(most_[asker], {});
}

}  // namespace tapedeck::inline TAPEDECK_ABI
