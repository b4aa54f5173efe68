/// @file
/// Keeps a job from taking more memory than is left.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

#include "os/limits.hpp"
#include "tapedeck/base/abi.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::internal {

/// Asked before each chunk, by any thread. What the kernel tells is used for some milliseconds,
/// less what was let through since: asking costs as much as mapping hundreds of pages.
class BudgetGate {
 public:
  /// The budget, where so many more bytes may not become resident; counts them where they may.
  [[nodiscard]] std::optional<os::Budget> refusal_of(std::uint64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;

  std::mutex mutex_;
  std::optional<os::Budget> budget_;
  std::uint64_t left_ = 0;
  Clock::time_point asked_{};
};

/// How many bytes bringing a chunk in may add to what is in RAM; cheap to ask. Of mapped files
/// and shared memory, those that are not in the page cache; of memory of our own, all.
[[nodiscard]] std::uint64_t most_missing_bytes(const WeightsState& state,
                                               const WeightsChunk& chunk);
/// The same to the page. What the kernel does not tell of counts as missing.
[[nodiscard]] std::uint64_t missing_bytes(const WeightsState& state, const WeightsChunk& chunk);

}  // namespace tapedeck::internal
