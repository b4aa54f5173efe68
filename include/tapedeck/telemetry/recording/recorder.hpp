/// @file
/// `Recorder`: how a layout's memory went over time.
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
  std::string name = "layout";  ///< Of the layout, for people.
  std::size_t samples = 4096;   ///< Kept, the newest; 1 at least, 2^24 at most.
  /// No two samples that `pass` takes are nearer than this; not negative. 0: one each pass.
  std::chrono::microseconds at_least_apart{};
  /// What is recorded, for the report's header; empty: unknown. The recorder adds the host's name
  /// and the date itself. Each is cut after `kRunTextBytes`.
  std::string model{};    ///< The model's file or name.
  std::string command{};  ///< The command line.
};

/// Keeps samples of a layout's `Stat` and of what was in use between them, and the phases it goes
/// through, in a ring of fixed size. To sample costs O(talks), no allocation, no lock and no system
/// call: a steady clock is read, which Linux answers without one. A layout has one at a time.
///
/// Thread-safety: the layout's writer, of all its tapes; `recording` and `write` too.
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
  /// Of a layout, which outlives it. Allocates all that it will need.
  /// @throws InvalidArgument for options out of range.
  explicit Recorder(Layout& layout, RecorderOptions options = {});
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// A pass has ended: takes a sample where one is due.
  void pass() noexcept;
  /// Takes one now.
  void sample() noexcept;

  /// Marks the beginning of a phase, and the end of the innermost one; `Phases` does. Only the
  /// newest marks are kept, as many as samples.
  void enter(std::string_view name) noexcept;
  void leave() noexcept { add_mark().entered = false; }

  [[nodiscard]] std::size_t size() const noexcept;      ///< Samples that it has.
  [[nodiscard]] std::uint64_t taken() const noexcept {  ///< Samples ever taken.
    return taken_;
  }

  /// All that it has.
  [[nodiscard]] Recording recording() const;
  /// The same as JSON lines, see `Recording::write`. @throws what the stream throws.
  void write(std::ostream& out) const { recording().write(out); }

 private:
  friend class Phases;  // which watches the same peaks

  struct Mark {
    std::uint64_t at;
    bool entered;  ///< Else the innermost phase was left.
    std::array<char, kPhaseNameBytes + 1> name;
  };

  Mark& add_mark() noexcept;
  [[nodiscard]] std::uint64_t now() const noexcept;

  Layout& layout_;
  PeakWatch watch_;
  RecorderOptions options_;
  RecordedRun run_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  RecordedSample newest_;            // made again and again: clearing it costs more than filling it
  std::size_t words_;                // of a sample
  std::vector<std::uint64_t> ring_;  // samples, packed
  std::vector<Mark> marks_;          // likewise a ring
  std::uint64_t taken_ = 0;
  std::uint64_t marked_ = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
