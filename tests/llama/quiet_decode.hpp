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

/// Lies in memory that both map, so that neither needs a system call to tell the other.
struct Blackboard {
  std::atomic<Stage> stage;
  std::uint64_t tokens;
  std::uint64_t talks;
  // While decoding.
  std::uint64_t allocations;
  std::uint64_t samples;  ///< That the recorder took.
  std::uint64_t phases;   ///< That were entered.
};
static_assert(std::atomic<Stage>::is_always_lock_free);

// Exit codes.
inline constexpr int kViolation = 3;   ///< The pass guard threw.
inline constexpr int kNoSeccomp = 77;  ///< The host has no filters.

}  // namespace tapedeck::tests
