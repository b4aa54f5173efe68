// SPDX-License-Identifier: Apache-2.0
#include "weights/missing_bytes.hpp"

#include <algorithm>

#include "os/pages.hpp"
#include "os/vm.hpp"

namespace tapedeck::internal {
namespace {

int descriptor_of_pages(const WeightsState& state, const WeightsChunk& chunk) {
  if (chunk.segment->way == Way::shared) return state.range.descriptor();
  return state.descriptor_of(*chunk.segment);
}

bool is_in_huge_page_pool(const WeightsState& state, const WeightsSegment& segment) {
  if (segment.way == Way::shared) return state.range.page_size() != os::page_size();
  return state.open_files[segment.file].in_huge_page_pool;
}

}  // namespace

std::optional<std::uint64_t> most_missing_bytes(const WeightsState& state,
                                                const WeightsChunk& chunk) {
  const std::uint64_t bytes = chunk.memory.size();
  if (is_in_huge_page_pool(state, *chunk.segment)) return 0;  // the host has set them aside
  const Way way = chunk.segment->way;
  if (way != Way::map && way != Way::shared) return bytes;
  const auto cached = os::cached_file_bytes(descriptor_of_pages(state, chunk), chunk.begin, bytes);
  return cached ? std::optional(bytes - *cached) : std::nullopt;
}

std::uint64_t missing_bytes(const WeightsState& state, const WeightsChunk& chunk) {
  const std::uint64_t bytes = chunk.memory.size();
  const std::uint64_t most = most_missing_bytes(state, chunk).value_or(bytes);
  if (most == 0) return 0;
  const os::PageStates states = os::page_states(chunk.memory.data(), chunk.memory.size());
  const std::uint64_t there = states.present.value_or(0) - states.zeros.value_or(0);
  return std::min(most, bytes - there);
}

}  // namespace tapedeck::internal
