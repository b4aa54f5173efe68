#include "tapedeck/plan/packing.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <numeric>

#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

bool meet(const Live& a, const Live& b) noexcept { return a.begin < b.end && b.begin < a.end; }

void check(const Buffer& buffer) {
  if (!std::has_single_bit(buffer.alignment)) {
    throw InvalidArgument("buffer " + buffer.name + ": alignment " +
                          std::to_string(buffer.alignment) + " is no power of two");
  }
  if (buffer.live.end < buffer.live.begin) {
    throw InvalidArgument("buffer " + buffer.name + " ends before it begins");
  }
}

/// A buffer that has its place.
struct Placed {
  std::uint64_t offset;
  std::uint64_t end;
  Live live;
};

/// The lowest place beside all `placed` (sorted by offset) that live at a common time.
std::uint64_t lowest_gap(const std::vector<Placed>& placed, const Buffer& buffer) {
  std::uint64_t at = 0;
  for (const Placed& other : placed) {
    if (!meet(other.live, buffer.live)) continue;
    if (plan::fits(CheckedSize(at) + buffer.bytes) <= other.offset) break;
    if (other.end > at) at = plan::up_to_multiple(other.end, buffer.alignment);
  }
  return at;
}

// A sweep over the times at which something begins or ends.
void find_lower_bound(std::span<const Buffer> buffers, Packing& packing) {
  struct Change {
    std::uint32_t stage;
    bool begins;
    std::uint64_t bytes;
  };
  std::vector<Change> changes;
  changes.reserve(2 * buffers.size());
  for (const Buffer& buffer : buffers) {
    if (buffer.live.begin == buffer.live.end) continue;
    changes.push_back({buffer.live.begin, true, buffer.bytes});
    changes.push_back({buffer.live.end, false, buffer.bytes});
  }
  // What ends makes room for what begins at the same stage.
  std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
    return a.stage != b.stage ? a.stage < b.stage : a.begins < b.begins;
  });
  std::uint64_t live = 0;
  for (const Change& change : changes) {
    live = change.begins ? plan::fits(CheckedSize(live) + change.bytes) : live - change.bytes;
    if (live <= packing.lower_bound) continue;
    packing.lower_bound = live;
    packing.lower_bound_stage = change.stage;
  }
}

}  // namespace

Packing pack(std::span<const Buffer> buffers) {
  for (const Buffer& buffer : buffers) check(buffer);
  Packing packing{.offsets = std::vector<std::uint64_t>(buffers.size())};
  find_lower_bound(buffers, packing);

  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return buffers[a].bytes > buffers[b].bytes;
  });

  std::vector<Placed> placed;
  placed.reserve(buffers.size());
  for (const std::size_t index : order) {
    const Buffer& buffer = buffers[index];
    const std::uint64_t offset = lowest_gap(placed, buffer);
    const Placed here{offset, plan::fits(CheckedSize(offset) + buffer.bytes), buffer.live};
    packing.offsets[index] = offset;
    packing.peak = std::max(packing.peak, here.end);
    if (buffer.bytes == 0) continue;  // takes no room, and would only be stepped over
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [](std::uint64_t at, const Placed& other) { return at < other.offset; }),
        here);
  }
  return packing;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
