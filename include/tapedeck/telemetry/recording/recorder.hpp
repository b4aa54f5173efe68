// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Recorder`: records the memory of a layout over time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/peak_watch.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct RecorderOptions {
  std::string name = "layout";  ///< The layout's name, for people.
  std::size_t samples = 4096;   ///< How many samples to keep, the newest; from 1 to 2^24.
  /// Minimum time between two samples that `pass` takes, not negative. 0 takes one every pass.
  std::chrono::microseconds at_least_apart{};
  /// What is recorded, for the report's header; empty: unknown. The recorder adds the host's name
  /// and the date itself. Each is cut after `kRunTextBytes`.
  std::string model{};    ///< The model's file or name.
  std::string command{};  ///< The command line.
};

/// Keeps samples of a layout's `Stat`, the peaks between them, and the phases that it goes through,
/// in a ring of fixed size. A sample costs O(talks), no allocation, no lock and no system call: it
/// reads a steady clock, which Linux provides without one. A layout can have several recorders at
/// the same time, for example one of every pass and one of every minute; each has the peaks since
/// its own last sample.
///
/// Thread-safety: the thread that writes all tapes of the layout, for construction, destruction,
/// `recording` and `write` too.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// Recorder recorder(layout, {.name = "chat", .samples = 1000});
/// for (int token = 0; token < 10; ++token) {
///   (void)layout.history().take(1_KiB);
///   layout.clear_pass();
///   recorder.pass();  // after it: a sample is of what stays
/// }
/// std::ostringstream lines;
/// recorder.write(lines);
/// assert(recorder.size() == 10);
/// @endcode
class Recorder {
 public:
  /// Allocates all memory that it will need.
  /// @param layout  must outlive the recorder.
  /// @throws InvalidArgument for options out of range; OutOfMemory if the host or the memory cgroup
  /// has no room for the samples.
  explicit Recorder(Layout& layout, RecorderOptions options = {});
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// Takes a sample if one is due. Call it after each pass.
  void pass() noexcept;
  /// Takes a sample now.
  void sample() noexcept;

  /// Marks the beginning of a phase, for `Phases`. Only the newest marks are kept, up to
  /// `RecorderOptions::samples`.
  void enter(std::string_view name) noexcept;
  /// Marks the end of the innermost phase, for `Phases`.
  void leave() noexcept { add_mark().entered = false; }

  [[nodiscard]] std::size_t size() const noexcept;      ///< Number of samples kept.
  [[nodiscard]] std::uint64_t taken() const noexcept {  ///< Number of samples ever taken.
    return taken_;
  }

  /// Returns everything that was kept.
  [[nodiscard]] Recording recording() const;
  /// Writes `recording()` as JSON lines; see `Recording::write`. @throws what the stream throws.
  void write(std::ostream& out) const { recording().write(out); }

 private:
  struct Mark {
    std::uint64_t at;
    bool entered;  ///< False if the innermost phase was left.
    std::array<char, kPhaseNameBytes + 1> name;
  };

  Mark& add_mark() noexcept;
  [[nodiscard]] std::uint64_t now() const noexcept;

  Layout& layout_;
  PeakWatch watch_;
  RecorderOptions options_;
  RecordedRun run_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  RecordedSample newest_;            // reused: clearing it would cost more than filling it
  std::size_t words_;                // in a sample
  std::vector<std::uint64_t> ring_;  // of samples, packed
  std::vector<Mark> marks_;          // also a ring
  std::uint64_t taken_ = 0;
  std::uint64_t marked_ = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
