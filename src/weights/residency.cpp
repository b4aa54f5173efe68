#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

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

std::optional<std::uint64_t> sum_of(std::optional<std::uint64_t> sum,
                                    std::optional<std::uint64_t> more) {
  return sum && more ? std::optional(*sum + *more) : std::nullopt;
}

WeightsResidency residency_of_runs(const internal::WeightsState& state,
                                   const std::vector<Run>& runs) {
  WeightsResidency all = {.present = 0, .huge = 0, .swapped = 0, .cached = 0};
  bool nodes_known = true;
  for (const Run& run : runs) {
    const std::uint64_t bytes = run.end - run.begin;
    std::byte* const at = state.range.data() + run.segment->at + (run.begin - run.segment->begin);
    all.bytes += bytes;
    const auto states = os::page_states(at, static_cast<std::size_t>(bytes));
    all.present = sum_of(all.present, states ? std::optional(states->present) : std::nullopt);
    all.huge = sum_of(all.huge, states ? states->huge : std::nullopt);
    all.swapped = sum_of(all.swapped, states ? std::optional(states->swapped) : std::nullopt);
    if (run.segment->way == Way::map) {
      const int descriptor = state.open_files[run.segment->file].buffered.get();
      all.cached = sum_of(all.cached, os::cached_file_bytes(descriptor, run.begin, bytes));
    }
    nodes_known = nodes_known && os::add_node_bytes(at, static_cast<std::size_t>(bytes), all.nodes);
  }
  if (!nodes_known) all.nodes.clear();
  return all;
}

void add_segment(std::vector<Run>& runs, const internal::WeightsSegment& segment) {
  runs.push_back({.segment = &segment, .begin = segment.begin, .end = segment.end()});
}

/// Neighbours become one, so that 100,000 tensors are not 100,000 questions.
std::vector<Run> runs_of(const internal::WeightsState& state,
                         std::span<const std::uint32_t> tensors) {
  std::vector<Run> runs;
  for (const std::uint32_t tensor : tensors) {
    state.check_tensor(tensor);
    const TensorEntry& entry = state.directory.entries()[tensor];
    const internal::WeightsSegment* segment = state.segment_of(entry);
    if (segment == nullptr) continue;
    runs.push_back({.segment = segment, .begin = entry.offset, .end = entry.offset + entry.bytes});
  }
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
    return a.segment != b.segment ? a.segment < b.segment : a.begin < b.begin;
  });
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

std::uint64_t drop(const internal::WeightsState& state, std::byte* at, std::size_t bytes) noexcept {
  const auto states = os::page_states(at, bytes);
  if (state.locked) static_cast<void>(os::unlock(at, bytes));
  if (os::advise(at, bytes, os::Advice::drop_pages) != 0) return 0;
  return states ? states->present : 0;
}

}  // namespace

WeightsResidency Weights::residency() const {
  std::vector<Run> runs;
  for (const internal::WeightsSegment& segment : opened().segments) add_segment(runs, segment);
  WeightsResidency all = residency_of_runs(opened(), runs);
  all.dirty = os::dirty_bytes(opened().range.data(), opened().range.size());
  return all;
}

WeightsResidency Weights::residency_of_file(std::size_t file) const {
  if (file >= opened().files.size()) {
    throw InvalidArgument({.argument = "file", .value = file, .limit = opened().files.size() - 1},
                          "the model has no file " + std::to_string(file) + ", but only " +
                              std::to_string(opened().files.size()));
  }
  std::vector<Run> runs;
  for (const internal::WeightsSegment& segment : opened().segments_of(file))
    add_segment(runs, segment);
  return residency_of_runs(opened(), runs);
}

WeightsResidency Weights::residency_of(std::span<const std::uint32_t> tensors) const {
  return residency_of_runs(opened(), runs_of(opened(), tensors));
}

std::uint64_t Weights::decommit() {
  std::uint64_t given_back = 0;
  for (std::size_t number = 0; number != opened().chunks(); ++number) {
    opened().set_ready(number, false);
  }
  for (const internal::WeightsSegment& segment : opened().segments) {
    const std::span<std::byte> pages = opened().pages_of(segment);
    const std::uint64_t dropped = drop(opened(), pages.data(), pages.size());
    // Of shared memory, others have the pages still.
    if (segment.way != Way::shared) given_back += dropped;
  }
  opened().locked = false;
  return given_back;
}

// A chunk at the edge has bytes of other tensors too, and so may the pages at its own edges.
std::uint64_t Weights::decommit(std::span<const std::uint32_t> tensors) {
  std::vector<std::uint64_t> covered(opened().chunks());
  std::vector<std::uint32_t> each(tensors.begin(), tensors.end());
  std::sort(each.begin(), each.end());  // named twice, a tensor covers no more
  each.erase(std::unique(each.begin(), each.end()), each.end());
  for (const std::uint32_t tensor : each) {
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
    const std::uint64_t dropped = drop(opened(), reinterpret_cast<std::byte*>(from), to - from);
    if (chunk.segment->way != Way::shared) given_back += dropped;
  }
  return given_back;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
