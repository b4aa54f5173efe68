// SPDX-License-Identifier: Apache-2.0
/// @file
/// `BudgetGate`: keeps a job from taking more memory than is available.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

#include "os/limits.hpp"
#include "tapedeck/base/abi.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::internal {

/// Checked before each chunk, by any thread. A query of the kernel costs as much as mapping
/// hundreds of pages, so its answer is used for some milliseconds, less what was let through since.
class BudgetGate {
 public:
  /// Returns the budget if it does not allow `bytes` more to become resident; else deducts them.
  [[nodiscard]] std::optional<os::Budget> refusal_of(std::uint64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;

  std::mutex mutex_;
  std::optional<os::Budget> budget_;
  std::uint64_t left_ = 0;
  Clock::time_point asked_{};
};

/// Upper bound of the bytes that bringing a chunk in adds to RAM; cheap to compute. Of mapped files
/// and shared memory, it counts what is not in the page cache, and is unknown where the kernel does
/// not report that; of private memory, everything. (A byte of shared memory that was never written
/// has no page. Reading it allocates one, charged to the reader.)
[[nodiscard]] std::optional<std::uint64_t> most_missing_bytes(const WeightsState& state,
                                                              const WeightsChunk& chunk);
/// Bytes that bringing a chunk in adds to RAM, exact to the page. Pages that the kernel does not
/// report count as missing.
[[nodiscard]] std::uint64_t missing_bytes(const WeightsState& state, const WeightsChunk& chunk);

}  // namespace tapedeck::internal
