/// @file
/// `Phases`: what an engine is doing, and what memory each of that takes.
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

/// The most names of phases that are told apart, and how many phases may be nested.
inline constexpr std::size_t kMostPhases = 16;
inline constexpr std::size_t kDeepestPhase = 8;

/// All that was done under one name. Thread-safety: a value.
struct PhaseFigures {
  std::string name{};
  std::uint64_t times = 0;   ///< How often it was entered.
  std::uint64_t passes = 0;  ///< Calls of `clear_pass` meanwhile.
  std::size_t gpus = 0;      ///< Devices of the layout.
  LayoutPeaks peaks{};
};

/// The phases of an engine's work, nested, by name: `load`, `prefill`, `decode`. Each has peaks of
/// its own, in which those of the phases inside it count; the tapes' own peaks stay what they are.
/// Where Tapedeck was built with NVTX's headers, a phase is a range of that, too.
///
/// Entering and leaving cost O(talks): no system call, no allocation, no lock.
///
/// Thread-safety: entered and left by the layout's writer, of all its tapes; `figures` from any
/// thread.
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
  /// @param layout  outlives the phases.
  /// @param recorder  the layout's, if it has one: it records the phases, and outlives them, too.
  explicit Phases(Layout& layout, Recorder* recorder = nullptr) noexcept;
  Phases(const Phases&) = delete;
  Phases& operator=(const Phases&) = delete;

  /// Enters a phase. A name beyond `kMostPhases`, or a phase that is nested deeper than
  /// `kDeepestPhase`, belongs to the one around it, and is counted by `unnamed`.
  void push(std::string_view name) noexcept;
  /// Leaves the innermost one. @pre there is one.
  void pop() noexcept;

  [[nodiscard]] std::uint64_t unnamed() const noexcept {
    return unnamed_.load(std::memory_order_relaxed);
  }

  /// In the order in which they were first entered. What an open phase takes counts once it, or one
  /// inside it, is left.
  [[nodiscard]] std::vector<PhaseFigures> figures() const;

 private:
  static constexpr std::size_t kNone = kMostPhases;

  struct Phase {
    std::array<char, kPhaseNameBytes + 1> name{};  // written before it is counted
    std::atomic<std::uint64_t> times{0};
    std::atomic<std::uint64_t> passes{0};
    std::array<std::atomic<std::uint64_t>, 3 * (1 + kMostGpus)> peaks{};  // tape by tape
  };

  [[nodiscard]] std::size_t phase_called(std::string_view name) noexcept;
  void close_watch() noexcept;

  Layout& layout_;
  Recorder* recorder_;
  PeakWatch own_watch_;  // where there is no recorder, which has one
  PeakWatch& watch_;
  std::array<Phase, kMostPhases> phases_{};
  std::atomic<std::size_t> count_{0};
  std::array<std::size_t, kDeepestPhase> open_{};  // the outermost first
  std::size_t depth_ = 0;                          // beyond kDeepestPhase, too
  std::uint64_t passes_ = 0;                       // of the layout, when the watch began
  std::atomic<std::uint64_t> unnamed_{0};
};

/// Enters a phase, and leaves it. Thread-safety: as `Phases::push`.
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
