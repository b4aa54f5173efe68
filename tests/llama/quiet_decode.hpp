/// @file
/// What quiet_decode (the program that decodes and makes no noise) and quiet_decode_test (which
/// listens) agree on.
#pragma once

#include <atomic>
#include <cstdint>

namespace tapedeck::tests {

enum class Stage : std::uint32_t {
  preparing,  ///< The child loads, warms and decodes until nothing changes any more.
  ready,      ///< From here on it may only sleep and end. It waits for the parent's figures.
  decoding,
  done,  ///< Waits for the parent's figures again.
  end,
};

/// What was decoded, and what that cost.
struct DecodeFigures {
  std::uint64_t tokens = 0;
  std::uint64_t talks = 0;
  std::uint64_t allocations = 0;
  std::uint64_t samples = 0;  ///< That the recorder took.
  std::uint64_t phases = 0;   ///< That were entered.
};

/// Lies in memory that both map, so that neither needs a system call to tell the other.
struct Blackboard : DecodeFigures {
  std::atomic<Stage> stage;
};
static_assert(std::atomic<Stage>::is_always_lock_free);

// Exit codes.
inline constexpr int kViolation = 3;   ///< The pass guard threw.
inline constexpr int kNoSeccomp = 77;  ///< The host has no filters.

}  // namespace tapedeck::tests
