// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Phases`: the named phases of an engine's work, and the memory that each of them takes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/peak_watch.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

class Recorder;

/// Maximum number of distinct phase names.
inline constexpr std::size_t kMostPhases = 16;
/// Maximum depth to which phases can be nested.
inline constexpr std::size_t kDeepestPhase = 8;

/// What all phases of one name add up to. Thread-safety: a value.
struct PhaseFigures {
  std::string name{};
  std::uint64_t times = 0;   ///< How often it was entered.
  std::uint64_t passes = 0;  ///< Calls of `clear_pass` while it was open.
  std::size_t gpus = 0;      ///< Devices of the layout.
  LayoutPeaks peaks{};       ///< The most in use while it was open.
};

/// The phases of an engine's work by name (`load`, `prefill`, `decode`); they can be nested. Each
/// has its own peaks, which include those of the phases inside it. The tapes' own peaks are not
/// affected. If Tapedeck was built with NVTX's headers, each phase is also an NVTX range.
///
/// Entering or leaving a phase costs O(talks): no system call, no allocation, no lock.
///
/// Thread-safety: `push` and `pop` from the thread that writes all tapes of the layout; `figures`
/// and `unnamed` from any thread.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// Phases phases(layout);
/// {
///   const PhaseScope prefill(phases, "prefill");
///   (void)layout.scratch().take(900_KiB);
///   layout.clear_pass();
/// }
/// {
///   const PhaseScope decode(phases, "decode");
///   (void)layout.scratch().take(100_KiB);
///   layout.clear_pass();
/// }
/// assert(phases.figures()[0].peaks.scratch == 900_KiB);
/// assert(phases.figures()[1].peaks.scratch == 100_KiB && layout.scratch().peak() == 900_KiB);
/// @endcode
class Phases {
 public:
  /// @param layout  must outlive the phases.
  /// @param recorder  a recorder of the layout, if it has one: records the phases, and must outlive
  /// them, too. Only one `Phases` may use a recorder.
  explicit Phases(Layout& layout, Recorder* recorder = nullptr) noexcept;
  Phases(const Phases&) = delete;
  Phases& operator=(const Phases&) = delete;

  /// Enters a phase. If `kMostPhases` other names exist, or if it is nested deeper than
  /// `kDeepestPhase`, it counts as part of the phase around it, and `unnamed` is incremented.
  void push(std::string_view name) noexcept;
  /// Leaves the innermost phase. Has no effect if no phase is open.
  void pop() noexcept;

  /// How often `push` entered a phase without a name of its own.
  [[nodiscard]] std::uint64_t unnamed() const noexcept {
    return unnamed_.load(std::memory_order_relaxed);
  }

  /// Returns the phases in the order in which they were first entered. What an open phase takes is
  /// counted the next time that a phase is entered or left.
  [[nodiscard]] std::vector<PhaseFigures> figures() const;

 private:
  static constexpr std::size_t kNone = kMostPhases;

  struct Phase {
    std::array<char, kPhaseNameBytes + 1> name{};  // written before `count_` includes it
    std::atomic<std::uint64_t> times{0};
    std::atomic<std::uint64_t> passes{0};
    std::array<std::atomic<std::uint64_t>, 3 * (1 + kMostGpus)> peaks{};  // tape by tape
  };

  [[nodiscard]] std::size_t phase_called(std::string_view name) noexcept;
  void close_watch() noexcept;

  Layout& layout_;
  Recorder* recorder_;
  PeakWatch watch_;
  std::array<Phase, kMostPhases> phases_{};
  std::atomic<std::size_t> count_{0};
  std::array<std::size_t, kDeepestPhase> open_{};  // the outermost first
  std::size_t depth_ = 0;                          // counts beyond kDeepestPhase, too
  std::uint64_t passes_ = 0;                       // the layout's passes when the watch began
  std::atomic<std::uint64_t> unnamed_{0};
};

/// Enters a phase when constructed and leaves it when destroyed. Thread-safety: like
/// `Phases::push`.
class [[nodiscard]] PhaseScope {
 public:
  PhaseScope(Phases& phases, std::string_view name) noexcept : phases_(phases) {
    phases_.push(name);
  }
  ~PhaseScope() { phases_.pop(); }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Phases& phases_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
