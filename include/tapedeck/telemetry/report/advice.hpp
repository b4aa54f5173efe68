/// @file
/// `advise`: what to reserve the next time, from what was observed.
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
  fits,     ///< It had what it needed, and to reserve less would save less than a quarter.
  roomy,    ///< Three quarters of it would do.
  unused,   ///< Nothing was taken.
  spilled,  ///< Takes found no room, and got some elsewhere.
  refused,  ///< Takes found no room.
};

[[nodiscard]] const char* to_string(TapeFinding finding) noexcept;

/// Of one tape. All sizes are bytes, over all talks. Thread-safety: a value, as below.
struct TapeAdvice {
  Place place{};
  TapeKind tape = TapeKind::weights;
  TapeFinding finding = TapeFinding::fits;
  std::uint64_t reserved = 0;  ///< Now.
  /// The most in use at a time, what was spilled too (each at its own moment: an upper bound). Of a
  /// history as if all talks were the longest one, since each may be; of a planned one what tokens
  /// filled.
  std::uint64_t observed = 0;
  /// What to reserve: what was observed, and a tenth more, but of weights and of planned scratch,
  /// which are what they are. What is taken above a plan is then rounded up to a sixteenth of its
  /// power of two, and to 64 KiB.
  std::uint64_t reserve = 0;
  std::string text{};  ///< "history peaked at 61 % of plan: 320 MiB would do".
};

struct Advice {
  std::uint64_t longest_talk = 0;  ///< Tokens.
  /// Tokens to plan a talk for: the longest and a tenth more, up to a multiple of 256, but no more
  /// than now. 0 where the layout does not count tokens. `PlanOptions::total_context` is of all
  /// sequences together, and so this times them.
  std::uint64_t context = 0;
  std::string text{};               ///< The same in a sentence; empty likewise.
  std::vector<TapeAdvice> tapes{};  ///< But for those that nothing was reserved for, or asked of.
};

/// From the peaks of a layout since it was made, which tells the more, the longer it has worked.
/// From any thread. O(regions + talks).
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

/// From the newest sample of a recording. Without samples there is no advice.
[[nodiscard]] Advice advise(const Recording& recording);

}  // namespace tapedeck::inline TAPEDECK_ABI
