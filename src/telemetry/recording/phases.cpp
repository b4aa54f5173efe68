// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/recording/phases.hpp"

#include <algorithm>

#include "layout/stat_walk.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"

#if defined(TAPEDECK_NVTX)
#include <nvtx3/nvToolsExt.h>
#endif

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

// Ranges for NVIDIA's profilers. Unless a profiler is attached, each costs only a test.
#if defined(TAPEDECK_NVTX)
void push_profiler_range(const char* name) noexcept { nvtxRangePushA(name); }
void pop_profiler_range() noexcept { nvtxRangePop(); }
#else
void push_profiler_range(const char* /*name*/) noexcept {}
void pop_profiler_range() noexcept {}
#endif

// The counters have only one writer, so they need no atomic addition.
void count_more(std::atomic<std::uint64_t>& counter, std::uint64_t more) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

void raise_peaks(std::atomic<std::uint64_t>* most, const TapePeaks& to) noexcept {
  for (const std::uint64_t bytes : {to.weights, to.scratch, to.history}) {
    if (bytes > most->load(std::memory_order_relaxed))
      most->store(bytes, std::memory_order_relaxed);
    ++most;
  }
}

}  // namespace

Phases::Phases(Layout& layout, Recorder* recorder) noexcept
    : layout_(layout), recorder_(recorder), watch_(layout), passes_(layout.passes()) {}

void Phases::push(std::string_view name) noexcept {
  close_watch();
  const std::size_t phase = depth_ < kDeepestPhase ? phase_called(name) : kNone;
  if (depth_ < kDeepestPhase) open_[depth_] = phase;
  ++depth_;
  if (phase == kNone) return count_more(unnamed_, 1);
  count_more(phases_[phase].times, 1);
  push_profiler_range(phases_[phase].name.data());
  if (recorder_ != nullptr) recorder_->enter(phases_[phase].name.data());
}

void Phases::pop() noexcept {
  if (depth_ == 0) return;
  close_watch();
  --depth_;
  if (depth_ >= kDeepestPhase || open_[depth_] == kNone) return;
  pop_profiler_range();
  if (recorder_ != nullptr) recorder_->leave();
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
    one.gpus = layout_.gpus();
    const auto* most = phase.peaks.data();
    internal::for_each_tape(one.peaks, one.gpus, [&most](Place, TapeKind, std::uint64_t& bytes) {
      bytes = (most++)->load(std::memory_order_relaxed);
    });
  }
  return all;
}

// The index of the phase of this name, which may be new; kNone if there is no room.
std::size_t Phases::phase_called(std::string_view name) noexcept {
  name = name.substr(0, std::min(name.find('\0'), kPhaseNameBytes));
  const std::size_t count = count_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < count; ++i) {
    if (phases_[i].name.data() == name) return i;
  }
  if (count == kMostPhases) return kNone;
  std::copy(name.begin(), name.end(), phases_[count].name.begin());
  // Released after the name was written, so that a reader that sees the count sees the name.
  count_.store(count + 1, std::memory_order_release);
  return count;
}

// Counts what was used since the last call for every open phase.
void Phases::close_watch() noexcept {
  const LayoutPeaks peaks = watch_.since_last();
  const std::uint64_t passes = layout_.passes();
  for (std::size_t i = 0; i < std::min(depth_, kDeepestPhase); ++i) {
    const auto* const inner = open_.cbegin() + i;
    const bool again = std::find(open_.cbegin(), inner, open_[i]) != inner;  // nested in itself
    if (open_[i] == kNone || again) continue;
    Phase& phase = phases_[open_[i]];
    count_more(phase.passes, passes - passes_);
    raise_peaks(phase.peaks.data(), peaks);
    for (std::size_t gpu = 0; gpu < layout_.gpus(); ++gpu) {
      raise_peaks(&phase.peaks[3 * (1 + gpu)], peaks.gpu[gpu]);
    }
  }
  passes_ = passes;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
