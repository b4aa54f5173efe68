#include "tapedeck/telemetry/recording/phases.hpp"

#include <algorithm>
#include <cassert>

#include "tapedeck/telemetry/recording/recorder.hpp"
#include "telemetry/recording/nvtx.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

template <class Number>
void add(std::atomic<Number>& counter, Number more) noexcept {  // one writer
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

void raise(std::atomic<std::uint64_t>& most, std::uint64_t value) noexcept {
  if (value > most.load(std::memory_order_relaxed)) most.store(value, std::memory_order_relaxed);
}

void raise(std::atomic<std::uint64_t>* most, const TapePeaks& to) noexcept {
  raise(most[0], to.weights);
  raise(most[1], to.scratch);
  raise(most[2], to.history);
}

TapePeaks peaks_at(const std::atomic<std::uint64_t>* first) {
  const auto at = [first](std::size_t k) { return first[k].load(std::memory_order_relaxed); };
  return {.weights = at(0), .scratch = at(1), .history = at(2)};
}

}  // namespace

Phases::Phases(Layout& layout, Recorder* recorder) noexcept
    : layout_(layout),
      recorder_(recorder),
      own_watch_(layout),
      watch_(recorder != nullptr ? recorder->watch_ : own_watch_),
      passes_(layout.passes()) {}

void Phases::push(std::string_view name) noexcept {
  close_watch();
  const std::size_t phase = depth_ < kDeepestPhase ? find(name) : kNone;
  if (depth_ < kDeepestPhase) open_[depth_] = phase;
  ++depth_;
  if (phase == kNone) return add(unnamed_, std::uint64_t{1});
  add(phases_[phase].times, std::uint64_t{1});
  internal::push_range(phases_[phase].name.data());
  if (recorder_ != nullptr) recorder_->enter(phases_[phase].name.data());
}

void Phases::pop() noexcept {
  assert(depth_ > 0);
  close_watch();
  --depth_;
  if (depth_ >= kDeepestPhase || open_[depth_] == kNone) return;
  internal::pop_range();
  if (recorder_ != nullptr) recorder_->leave();
}

std::string_view Phases::current() const noexcept {
  for (std::size_t i = std::min(depth_, kDeepestPhase); i > 0; --i) {
    if (open_[i - 1] != kNone) return phases_[open_[i - 1]].name.data();
  }
  return {};
}

std::vector<PhaseFigures> Phases::figures() const {
  const std::size_t count = count_.load(std::memory_order_acquire);
  std::vector<PhaseFigures> all;
  all.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Phase& phase = phases_[i];
    PhaseFigures& one = all.emplace_back();
    one.name = phase.name.data();
    one.times = phase.times.load(std::memory_order_relaxed);
    one.passes = phase.passes.load(std::memory_order_relaxed);
    one.host = peaks_at(phase.peaks.data());
    one.gpu.reserve(layout_.gpus());
    for (std::size_t gpu = 0; gpu < layout_.gpus(); ++gpu) {
      one.gpu.push_back(peaks_at(&phase.peaks[3 * (1 + gpu)]));
    }
  }
  return all;
}

// The name's place, or a new one.
std::size_t Phases::find(std::string_view name) noexcept {
  name = name.substr(0, std::min(name.find('\0'), kPhaseNameBytes));
  const std::size_t count = count_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < count; ++i) {
    if (phases_[i].name.data() == name) return i;
  }
  if (count == kMostPhases) return kNone;
  std::copy(name.begin(), name.end(), phases_[count].name.begin());
  // Release, after the name: a reader that counts it reads it.
  count_.store(count + 1, std::memory_order_release);
  return count;
}

// What was used since the last one counts for every phase that is open.
void Phases::close_watch() noexcept {
  const LayoutPeaks peaks = watch_.since_last(PeakWatch::for_phases);
  const std::uint64_t passes = layout_.passes();
  for (std::size_t i = 0; i < std::min(depth_, kDeepestPhase); ++i) {
    const auto* const inner = open_.cbegin() + i;
    const bool again = std::find(open_.cbegin(), inner, open_[i]) != inner;  // inside itself
    if (open_[i] == kNone || again) continue;
    Phase& phase = phases_[open_[i]];
    add(phase.passes, passes - passes_);
    for (std::size_t place = 0; place < 1 + layout_.gpus(); ++place) {
      raise(&phase.peaks[3 * place], peaks[place]);
    }
  }
  passes_ = passes;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
