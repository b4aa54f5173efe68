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

PeakWatch::PeakWatch(Layout& layout) noexcept : layout_(layout), next_(layout.peak_watches_) {
  layout.peak_watches_ = this;
}

PeakWatch::~PeakWatch() {
  PeakWatch** place = &layout_.peak_watches_;
  while (*place != this) place = &(*place)->next_;
  *place = next_;
}

LayoutPeaks PeakWatch::since_last() noexcept {
  const TapePeaks host = ended_peaks(layout_);
  for (PeakWatch* one = layout_.peak_watches_; one != nullptr; one = one->next_) {
    raise(one->most_, host);
  }
  for (std::size_t i = 0; i < layout_.gpus(); ++i) {
    const TapePeaks gpu = ended_peaks(layout_.gpu(i));
    for (PeakWatch* one = layout_.peak_watches_; one != nullptr; one = one->next_) {
      raise(one->most_.gpu[i], gpu);
    }
  }
  const LayoutPeaks ended = most_;
  // Resets only what was raised; the rest is 0 already. Resetting everything would cost a slow
  // instruction in each pass.
  static_cast<TapePeaks&>(most_) = {};
  for (std::size_t i = 0; i < layout_.gpus(); ++i) most_.gpu[i] = {};
  return ended;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
