// SPDX-License-Identifier: Apache-2.0
/// @file
/// `advise`: what to reserve next time, derived from what was observed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/tape_kind.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What was observed of a tape.
enum class TapeFinding : std::uint8_t {
  fits,     ///< It had what it needed, and reserving less would save a quarter at most.
  roomy,    ///< Less than three quarters of it would be enough.
  unused,   ///< Nothing was taken from it.
  spilled,  ///< Takes found no room in it and got memory elsewhere.
  refused,  ///< Takes found no room in it and failed.
  /// The talks of a history needed more than `LayoutOptions::history_budget` allows, so `prepare`
  /// was refused. The tape itself is large enough.
  over_budget,
};

[[nodiscard]] const char* to_string(TapeFinding finding) noexcept;

/// Advice for one tape. All sizes are bytes, for all talks together. Thread-safety: a value.
struct TapeAdvice {
  Place place{};
  TapeKind tape = TapeKind::weights;
  TapeFinding finding = TapeFinding::fits;
  std::uint64_t reserved = 0;  ///< Reserved at present.
  /// The most that was in use, with spilled bytes: an upper bound, since each peaked at its own
  /// moment. A history counts as if all talks were as long as the longest, since any may become so;
  /// of a planned history, only what tokens filled counts. If no tokens were counted, it is what an
  /// engine may have used without counting: all that was committed, once a pass has ended.
  std::uint64_t observed = 0;
  /// What to reserve: `observed` and a tenth more, but no margin for weights and planned scratch,
  /// whose sizes are fixed. What was taken above a plan is rounded up to a multiple of 64 KiB, or
  /// of a sixteenth of its power of two if that is larger. If takes were refused, at least
  /// `reserved` and a tenth more; what a history budget refused does not count.
  std::uint64_t reserve = 0;
  std::string text{};  ///< "history peaked at 61 % of plan: 320 MiB would do".
};

/// Advice for a layout. Thread-safety: a value.
struct Advice {
  std::uint64_t longest_talk = 0;  ///< Tokens.
  /// Tokens to plan a talk for: `longest_talk` and a tenth more, rounded up to a multiple of 256,
  /// but not more than the plan has now. 0 if the layout does not count tokens.
  /// `PlanOptions::total_context` is for all sequences together: multiply by their number.
  std::uint64_t context = 0;
  std::string text{};               ///< `context` in a sentence; empty if it is 0.
  std::vector<TapeAdvice> tapes{};  ///< All tapes on which anything was reserved or requested.
};

/// Advises from the peaks of a layout since it was created; the longer it has worked, the better.
/// Thread-safety: any thread. O(regions + talks).
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 8_MiB, .history = 2_MiB});
/// (void)layout.scratch().take(1_MiB);
/// layout.clear_pass();
/// const TapeAdvice scratch = advise(layout).tapes[1];
/// assert(scratch.finding == TapeFinding::roomy && scratch.reserve == 1_MiB + 128_KiB);
/// std::cout << scratch.text << '\n';  // scratch peaked at 12 % of what is reserved: …
/// @endcode
[[nodiscard]] Advice advise(const Layout& layout);

/// Advises from the newest sample of a recording. Without samples, the advice is empty.
[[nodiscard]] Advice advise(const Recording& recording);

}  // namespace tapedeck::inline TAPEDECK_ABI
