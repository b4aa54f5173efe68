// SPDX-License-Identifier: Apache-2.0
/// @file
/// The protocol between quiet_decode, the program that decodes quietly, and quiet_decode_test,
/// which observes it.
#pragma once

#include <atomic>
#include <cstdint>

namespace tapedeck::tests {

enum class Stage : std::uint32_t {
  preparing,  ///< The child loads, warms and decodes until it has reached a steady state.
  ready,      ///< From here on the child may only sleep and end. It waits for the parent's figures.
  decoding,
  done,  ///< The child waits for the parent's figures again.
  end,
};

/// What was decoded, and at what cost.
struct DecodeFigures {
  std::uint64_t tokens = 0;
  std::uint64_t talks = 0;
  std::uint64_t allocations = 0;
  std::uint64_t samples = 0;  ///< That the recorder took.
  std::uint64_t phases = 0;   ///< That were entered.
};

/// In memory that both processes map, so that they need no system call to communicate.
struct Blackboard : DecodeFigures {
  std::atomic<Stage> stage;
};
static_assert(std::atomic<Stage>::is_always_lock_free);

// Exit codes.
inline constexpr int kViolation = 3;   ///< The pass guard threw.
inline constexpr int kNoSeccomp = 77;  ///< The host does not support seccomp filters.

}  // namespace tapedeck::tests
