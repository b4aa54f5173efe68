// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/amounts.hpp"
#include "os/pages.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

/// A run of bytes of one segment.
struct Run {
  const internal::WeightsSegment* segment;
  std::uint64_t begin;  // offset in the file
  std::uint64_t end;
};

WeightsResidency residency_of_runs(const internal::WeightsState& state,
                                   const std::vector<Run>& runs) {
  WeightsResidency all = {.present = 0, .huge = 0, .swapped = 0, .cached = 0};
  bool nodes_known = true;
  for (const Run& run : runs) {
    const std::uint64_t bytes = run.end - run.begin;
    std::byte* const at = state.range.data() + run.segment->at + (run.begin - run.segment->begin);
    all.bytes += bytes;
    const os::PageStates states = os::page_states(at, static_cast<std::size_t>(bytes));
    all.present = internal::known_sum(all.present, states.present);
    all.huge = internal::known_sum(all.huge, states.huge);
    all.swapped = internal::known_sum(all.swapped, states.swapped);
    if (run.segment->way == Way::map) {
      all.cached = internal::known_sum(
          all.cached, os::cached_file_bytes(state.descriptor_of(*run.segment), run.begin, bytes));
    }
    nodes_known = nodes_known && os::add_node_bytes(at, static_cast<std::size_t>(bytes), all.nodes);
  }
  if (!nodes_known) all.nodes.clear();
  return all;
}

std::vector<Run> runs_of(std::span<const internal::WeightsSegment> segments) {
  std::vector<Run> runs;
  for (const internal::WeightsSegment& segment : segments) {
    runs.push_back({.segment = &segment, .begin = segment.begin, .end = segment.end()});
  }
  return runs;
}

/// Adjacent tensors are merged, so that 100,000 tensors do not cost 100,000 system calls.
std::vector<Run> runs_of_tensors(const internal::WeightsState& state,
                                 std::span<const std::uint32_t> tensors) {
  std::vector<Run> runs;
  for (const std::uint32_t tensor : tensors) {
    state.check_tensor(tensor);
    const TensorEntry& entry = state.directory.entries()[tensor];
    const internal::WeightsSegment* segment = state.segment_of(entry);
    if (segment == nullptr) continue;
    runs.push_back({.segment = segment, .begin = entry.offset, .end = entry.offset + entry.bytes});
  }
  std::ranges::sort(runs, {}, [](const Run& run) { return std::pair(run.segment, run.begin); });
  std::vector<Run> merged;
  for (const Run& run : runs) {
    const bool follows = !merged.empty() && merged.back().segment == run.segment &&
                         run.begin <= merged.back().end + os::page_size();
    if (follows) {
      merged.back().end = std::max(merged.back().end, run.end);
    } else {
      merged.push_back(run);
    }
  }
  return merged;
}

/// Drops pages and returns how many bytes that released.
std::uint64_t drop_pages(const internal::WeightsState& state, Way way, std::span<std::byte> pages) {
  const os::PageStates states = os::page_states(pages.data(), pages.size());
  if (state.locked) static_cast<void>(os::unlock(pages.data(), pages.size()));
  if (os::advise(pages.data(), pages.size(), os::Advice::drop_pages) != 0) return 0;
  // Pages of shared memory exist for as long as any process holds the memory.
  return way == Way::shared ? 0 : states.present.value_or(0);
}

}  // namespace

WeightsResidency Weights::residency() const {
  WeightsResidency all = residency_of_runs(opened(), runs_of(opened().segments));
  all.dirty = os::dirty_bytes(opened().range.data(), opened().range.size());
  return all;
}

WeightsResidency Weights::residency_of_file(std::size_t file) const {
  if (file >= opened().files.size()) {
    throw InvalidArgument({.argument = "file", .value = file, .limit = opened().files.size() - 1},
                          "file " + std::to_string(file) + " does not exist; the model has only " +
                              std::to_string(opened().files.size()));
  }
  return residency_of_runs(opened(), runs_of(opened().segments_of(file)));
}

WeightsResidency Weights::residency_of(std::span<const std::uint32_t> tensors) const {
  return residency_of_runs(opened(), runs_of_tensors(opened(), tensors));
}

std::uint64_t Weights::decommit() {
  std::uint64_t given_back = 0;
  for (std::size_t number = 0; number != opened().chunks(); ++number) {
    opened().set_ready(number, false);
  }
  for (const internal::WeightsSegment& segment : opened().segments) {
    given_back += drop_pages(opened(), segment.way, opened().pages_of(segment));
  }
  opened().locked = false;
  opened().keep_pages();
  return given_back;
}

// Chunks with bytes of other tensors are kept, and so are pages that a chunk shares with another.
std::uint64_t Weights::decommit(std::span<const std::uint32_t> tensors) {
  std::vector<std::uint64_t> covered(opened().chunks());
  // A set, so that a tensor named twice is counted once.
  for (const std::uint32_t tensor : std::set<std::uint32_t>(tensors.begin(), tensors.end())) {
    opened().check_tensor(tensor);
    const TensorEntry& entry = opened().directory.entries()[tensor];
    const internal::WeightsState::ChunkRange range = opened().chunks_of(tensor);
    for (std::size_t number = range.begin; number != range.end; ++number) {
      const internal::WeightsChunk chunk = opened().chunk(number);
      covered[number] += std::min(entry.offset + entry.bytes, chunk.begin + chunk.memory.size()) -
                         std::max(entry.offset, chunk.begin);
    }
  }
  std::uint64_t given_back = 0;
  for (std::size_t number = 0; number != covered.size(); ++number) {
    const internal::WeightsChunk chunk = opened().chunk(number);
    if (covered[number] < chunk.memory.size()) continue;
    const auto first = reinterpret_cast<std::uintptr_t>(chunk.memory.data());
    const std::uintptr_t from = round_up(first, os::page_size());
    const std::uintptr_t to = round_down(first + chunk.memory.size(), os::page_size());
    if (from >= to) continue;
    opened().set_ready(number, false);
    given_back +=
        drop_pages(opened(), chunk.segment->way, {reinterpret_cast<std::byte*>(from), to - from});
  }
  return given_back;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
