// SPDX-License-Identifier: Apache-2.0
#include "weights/budget_gate.hpp"

#include <algorithm>
#include <limits>

#include "os/pages.hpp"
#include "os/vm.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::chrono::milliseconds kFresh{10};

// A byte that was never written has no page yet. Reading it allocates one, charged to the reader.
std::uint64_t missing_of_shared(const WeightsState& state, const WeightsChunk& chunk) {
  if (state.range.page_size() != os::page_size()) return 0;  // set aside in the host's pool
  const std::size_t bytes = chunk.memory.size();
  std::optional<std::uint64_t> there =
      os::cached_file_bytes(state.range.descriptor(), chunk.begin, bytes);
  if (!there) there = os::cached_bytes(chunk.memory.data(), bytes);
  return bytes - there.value_or(0);
}

}  // namespace

std::optional<os::Budget> BudgetGate::refusal_of(std::uint64_t bytes) {
  if (bytes == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (bytes > left_ || now - asked_ > kFresh) {
    budget_ = os::memory_budget();
    left_ = budget_ ? budget_->available : std::numeric_limits<std::uint64_t>::max();
    asked_ = now;
  }
  if (bytes > left_) return budget_;
  left_ -= bytes;
  return std::nullopt;
}

std::uint64_t most_missing_bytes(const WeightsState& state, const WeightsChunk& chunk) {
  const WeightsSegment& segment = *chunk.segment;
  const std::uint64_t bytes = chunk.memory.size();
  if (segment.way == Way::shared) return missing_of_shared(state, chunk);
  const OpenFile& file = state.open_files[segment.file];
  if (file.in_huge_page_pool) return 0;  // the host has set them aside
  if (segment.way != Way::map) return bytes;
  return bytes - os::cached_file_bytes(file.buffered.get(), chunk.begin, bytes).value_or(0);
}

std::uint64_t missing_bytes(const WeightsState& state, const WeightsChunk& chunk) {
  const std::uint64_t most = most_missing_bytes(state, chunk);
  if (most == 0) return 0;
  const os::PageStates states = os::page_states(chunk.memory.data(), chunk.memory.size());
  return std::min<std::uint64_t>(most, chunk.memory.size() - states.present.value_or(0));
}

}  // namespace tapedeck::internal
