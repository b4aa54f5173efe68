// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/recording/recorder.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <span>
#include <utility>

#include "base/printable.hpp"
#include "base/require.hpp"
#include "os/process.hpp"
#include "os/resident_ledger.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/recording/planned_regions.hpp"
#include "telemetry/recording/sample_words.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace words = internal::words;
namespace {

constexpr std::size_t kMostSamples = std::size_t{1} << 24;

/// What is known of the run that begins now. A clock that was never set, as on boards without a
/// battery, does not know the date.
RecordedRun run_of(const RecorderOptions& options) {
  RecordedRun run = {
      .host = internal::os::host_name(), .model = options.model, .command = options.command};
  for (std::string* text : {&run.host, &run.model, &run.command}) {
    *text = std::string(internal::beginning(*text, kRunTextBytes));
  }
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  constexpr std::chrono::sys_days kNeverSet = std::chrono::year(2000) / 1 / 1;
  if (now >= kNeverSet) run.began = static_cast<std::uint64_t>(now.time_since_epoch().count());
  return run;
}

/// Calls `slot_do(i)` for each slot that a ring still keeps, the oldest first.
template <class SlotDo>
void each_kept(std::uint64_t ever, std::size_t size, SlotDo slot_do) {
  for (std::uint64_t i = ever - std::min<std::uint64_t>(ever, size); i < ever; ++i) {
    slot_do(static_cast<std::size_t>(i % size));
  }
}

}  // namespace

Recorder::Recorder(Layout& layout, RecorderOptions options)
    : layout_(layout),
      watch_(layout),
      options_(std::move(options)),
      run_(run_of(options_)),
      words_(words::count(layout.gpus())) {
  internal::require_one("RecorderOptions::samples", options_.samples);
  if (options_.samples > kMostSamples) {
    throw InvalidArgument(
        {.argument = "RecorderOptions::samples", .value = options_.samples, .limit = kMostSamples},
        "a recorder cannot keep " + std::to_string(options_.samples) + " samples",
        "use 16777216 at most");
  }
  if (options_.at_least_apart.count() < 0) {
    throw InvalidArgument({.argument = "RecorderOptions::at_least_apart"},
                          "the minimum time between two samples must not be negative",
                          "use 0 to take a sample every pass");
  }
  const std::size_t bytes =
      options_.samples * (words_ * sizeof(ring_.front()) + sizeof(marks_.front()));
  const std::string purpose = "recording " + std::to_string(options_.samples) + " samples";
  internal::os::ResidentLedger::Filling filling;
  internal::os::require_room(filling.begin(bytes), bytes, purpose,
                             "keep fewer samples, or free some memory");
  try {
    ring_.resize(options_.samples * words_);
    marks_.resize(options_.samples);
  } catch (const std::bad_alloc&) {
    internal::os::require_mapping_room(ENOMEM, bytes, purpose);
    throw OutOfMemory({.purpose = purpose, .needed = bytes}, "keep fewer samples");
  }
  // Discards the peaks from before the recorder existed.
  static_cast<void>(watch_.since_last());
}

void Recorder::pass() noexcept {
  const auto apart = static_cast<std::uint64_t>(options_.at_least_apart.count());
  if (apart == 0 || taken_ == 0 || now() - newest_.at >= apart) sample();
}

void Recorder::sample() noexcept {
  newest_.at = now();
  layout_.stat(newest_.stat);
  newest_.peaks = watch_.since_last();
  words::put(std::span(ring_).subspan(taken_ % options_.samples * words_, words_), newest_);
  ++taken_;
}

void Recorder::enter(std::string_view name) noexcept {
  Mark& mark = add_mark();
  mark.entered = true;
  mark.name[name.copy(mark.name.data(), kPhaseNameBytes)] = '\0';
}

Recorder::Mark& Recorder::add_mark() noexcept {
  Mark& mark = marks_[marked_++ % options_.samples];
  mark.at = now();
  return mark;
}

std::size_t Recorder::size() const noexcept {
  return static_cast<std::size_t>(std::min<std::uint64_t>(taken_, options_.samples));
}

std::uint64_t Recorder::now() const noexcept {
  const auto since = std::chrono::steady_clock::now() - began_;
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

Recording Recorder::recording() const {
  Recording recording = {.layout = options_.name,
                         .run = run_,
                         .gpus = layout_.gpus(),
                         .taken = taken_,
                         .regions = internal::planned_regions(layout_)};
  recording.words.reserve(size() * words_);
  each_kept(taken_, options_.samples, [&](std::size_t slot) {
    const auto sample = std::span(ring_).subspan(slot * words_, words_);
    recording.words.insert(recording.words.end(), sample.begin(), sample.end());
  });
  each_kept(marked_, options_.samples, [&](std::size_t slot) {
    const Mark& mark = marks_[slot];
    RecordedMark& kept = recording.marks.emplace_back();
    kept.at = mark.at;
    if (mark.entered) kept.entered = mark.name.data();
  });
  return recording;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
