// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/recording/peak_watch.hpp"

#include <algorithm>

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

void raise(TapePeaks& most, const TapePeaks& to) noexcept {
  most = {.weights = std::max(most.weights, to.weights),
          .scratch = std::max(most.scratch, to.scratch),
          .history = std::max(most.history, to.history)};
}

}  // namespace

LayoutPeaks PeakWatch::since_last(Asker asker) noexcept {
  const TapePeaks host = ended_peaks(layout_);
  for (LayoutPeaks& most : most_) raise(most, host);
  for (std::size_t i = 0; i < layout_.gpus(); ++i) {
    const TapePeaks gpu = ended_peaks(layout_.gpu(i));
    for (LayoutPeaks& most : most_) raise(most.gpu[i], gpu);
  }
  LayoutPeaks& most = most_[asker];
  const LayoutPeaks ended = most;
  // Resets only what was raised; the rest is 0 already. Resetting everything would cost a slow
  // instruction in each pass.
  static_cast<TapePeaks&>(most) = {};
  for (std::size_t i = 0; i < layout_.gpus(); ++i) most.gpu[i] = {};
  return ended;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
