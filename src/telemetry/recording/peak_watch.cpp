#include "tapedeck/telemetry/recording/peak_watch.hpp"

#include <algorithm>
#include <utility>

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
  const auto note = [this](std::size_t place, const TapePeaks& peaks) {
    for (LayoutPeaks& most : most_) raise(most[place], peaks);
  };
  note(0, ended_peaks(layout_));
  for (std::size_t gpu = 0; gpu < layout_.gpus(); ++gpu) {
    note(1 + gpu, ended_peaks(layout_.gpu(gpu)));
  }
  return std::exchange(most_[asker], {});
}

}  // namespace tapedeck::inline TAPEDECK_ABI
