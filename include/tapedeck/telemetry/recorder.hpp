/// @file
/// `Recorder`: how a layout's memory went over time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Of a recording. It is raised where something changes its meaning or goes; figures may be added.
inline constexpr unsigned kRecordingVersion = 1;

struct RecorderOptions {
  std::string name = "layout";                 ///< Of the layout, for people.
  std::size_t samples = 4096;                  ///< Kept, the newest; 1 at least, 2^24 at most.
  std::uint64_t every_passes = 1;              ///< A sample each so many passes; 1 at least,
  std::chrono::microseconds at_least_apart{};  ///< and no two of them nearer than this.
};

/// Keeps samples of a layout's `Stat`, and the phases it goes through, in a ring of fixed size. To
/// sample costs no allocation, no lock and no system call: a steady clock is read, which Linux
/// answers without one.
///
/// Thread-safety: the layout's writer, `write` too.
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
  explicit Recorder(const Layout& layout, RecorderOptions options = {});

  /// A pass has ended: takes a sample where one is due.
  void pass() noexcept {
    if (++passes_ < options_.every_passes) return;
    sample_if_due();
  }
  /// Takes one now.
  void sample() noexcept;

  /// Marks the beginning of a phase, and the end of the innermost one; `Phases` does. Only the
  /// newest marks are kept, as many as samples. @pre the name lives as long as the recorder
  void enter(const char* name) noexcept { mark(name); }
  void leave() noexcept { mark(nullptr); }

  [[nodiscard]] std::size_t size() const noexcept;      ///< Samples that it has.
  [[nodiscard]] std::uint64_t taken() const noexcept {  ///< Samples ever taken.
    return taken_;
  }

  /// Writes all it has as JSON lines. Times are microseconds since the recorder was made; figures
  /// are whole numbers in the units of their rows. In this order:
  ///
  /// | line    | members                                                                       |
  /// |---------|-------------------------------------------------------------------------------|
  /// | first   | `schema`: "tapedeck.recording"; `version`; `layout`: its name; `tape_fields`, |
  /// |         | `layout_fields`, `device_fields`: names, in the order of the figures below;   |
  /// |         | `tapes`: place and tape of each; `regions`: of the plan, `place`, `tape`,     |
  /// |         | `name`, `offset`, `bytes`; `lines`: how many follow; `taken`: samples, those  |
  /// |         | that the ring has lost too                                                    |
  /// | samples | `t`; `layout`: figures; `tapes`: figures of each; `devices`: of each          |
  /// | marks   | among them, by time: `t`, and `enter`: the phase, or `leave`: null            |
  ///
  /// @throws what the stream throws.
  void write(std::ostream& out) const;

 private:
  struct Mark {
    std::uint64_t at;
    const char* entered;  ///< Null: the innermost phase was left.
  };

  void sample_if_due() noexcept;
  void mark(const char* entered) noexcept;
  [[nodiscard]] std::uint64_t now() const noexcept;
  [[nodiscard]] std::string first_line(std::size_t lines) const;

  const Layout& layout_;
  RecorderOptions options_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::size_t words_;                // of a sample
  std::vector<std::uint64_t> ring_;  // samples: the time, and all figures in order
  std::vector<Mark> marks_;          // likewise
  std::uint64_t taken_ = 0;
  std::uint64_t marked_ = 0;
  std::uint64_t passes_ = 0;  // since the last sample
  std::uint64_t last_ = 0;    // its time
};

}  // namespace tapedeck::inline TAPEDECK_ABI
