// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/packing.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <numeric>
#include <utility>

#include "plan/sizes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::CheckedSize;
using internal::fits;

bool live_together(const Live& a, const Live& b) noexcept {
  return a.begin < b.end && b.begin < a.end;
}

void check_buffer(const Region& buffer) {
  internal::require_alignment(buffer);
  if (buffer.live.begin <= buffer.live.end) return;
  throw InvalidArgument(
      {.argument = "Region::live", .value = buffer.live.end, .limit = buffer.live.begin},
      "buffer " + buffer.name + " ends before it begins");
}

/// The bytes and stages that a placed buffer occupies.
struct Placed {
  std::uint64_t offset;
  std::uint64_t end;
  Live live;
};

/// Returns the lowest offset at which the buffer overlaps none of `placed` that are live at a
/// common stage. @pre `placed` is sorted by offset.
std::uint64_t lowest_gap(const std::vector<Placed>& placed, const Region& buffer) {
  std::uint64_t at = 0;
  for (const Placed& other : placed) {
    if (!live_together(other.live, buffer.live)) continue;
    if (fits(CheckedSize(at) + buffer.bytes) <= other.offset) break;
    if (other.end > at) at = internal::up_to_multiple(other.end, buffer.alignment);
  }
  return at;
}

bool lives_at(const Region& buffer, std::uint32_t stage) noexcept {
  return buffer.live.begin <= stage && stage < buffer.live.end;
}

// The maximum is reached at a stage where some buffer begins, so only those stages are checked. A
// buffer that ends at a stage is no longer live at it.
void find_lower_bound(std::span<const Region> buffers, Packing& packing) {
  for (const Region& first : buffers) {
    const std::uint32_t stage = first.live.begin;
    CheckedSize live = 0;
    for (const Region& buffer : buffers) {
      if (lives_at(buffer, stage)) live = live + buffer.bytes;
    }
    const std::uint64_t bytes = fits(live);
    if (bytes < packing.lower_bound) continue;
    if (bytes == packing.lower_bound && stage >= packing.lower_bound_stage) continue;
    packing.lower_bound = bytes;
    packing.lower_bound_stage = stage;
  }
}

using Order = std::vector<std::size_t>;

/// Returns the indices of the buffers by descending key. Equal keys keep the given order.
template <class Key>
Order order_by(std::span<const Region> buffers, Key key) {
  Order order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater(),
                           [&](std::size_t index) { return key(buffers[index]); });
  return order;
}

/// Places each buffer at the lowest offset that the buffers before it in the order leave free.
void place_in_order(std::span<const Region> buffers, const Order& order, Packing& packing) {
  packing.peak = 0;
  std::vector<Placed> placed;
  placed.reserve(buffers.size());
  for (const std::size_t index : order) {
    const Region& buffer = buffers[index];
    const std::uint64_t offset = lowest_gap(placed, buffer);
    const Placed here{offset, fits(CheckedSize(offset) + buffer.bytes), buffer.live};
    packing.offsets[index] = offset;
    packing.peak = std::max(packing.peak, here.end);
    if (buffer.bytes == 0) continue;  // It takes no room, so others may overlap it.
    placed.insert(std::ranges::upper_bound(placed, offset, {}, &Placed::offset), here);
  }
}

void try_order(std::span<const Region> buffers, const Order& order, Packing& best) {
  if (best.peak <= best.lower_bound) return;
  Packing other = best;
  place_in_order(buffers, order, other);
  if (other.peak < best.peak) best = std::move(other);
}

std::uint32_t lifetime(const Region& buffer) { return buffer.live.end - buffer.live.begin; }

// Repeatedly moves the buffer that ends highest to the front of the order, then places all again.
void repair_packing(std::span<const Region> buffers, Order order, Packing& best) {
  constexpr int kTries = 64;
  constexpr std::size_t kMost = 256;
  Packing now = best;
  for (int i = 0; i < kTries && buffers.size() <= kMost; ++i) {
    if (best.peak <= best.lower_bound) return;
    place_in_order(buffers, order, now);
    if (now.peak < best.peak) best = now;
    const auto highest = std::find_if(order.begin(), order.end(), [&](std::size_t index) {
      return now.offsets[index] + buffers[index].bytes == now.peak;
    });
    std::rotate(order.begin(), highest, std::next(highest));
  }
}

// No single order is the best for all models. Each one costs as much as the first.
void try_other_orders(std::span<const Region> buffers, Packing& best) {
  constexpr std::size_t kMost = 2048;  // With more buffers, the savings are not worth the time.
  if (buffers.size() > kMost || best.peak <= best.lower_bound) return;
  // Offsets must fit in 64 bits in any order.
  CheckedSize all = 0;
  for (const Region& b : buffers) all = all + b.bytes + b.alignment;
  if (!all.value()) return;
  const auto area = [](const Region& b) {
    return static_cast<double>(b.bytes) * static_cast<double>(lifetime(b));
  };
  const auto stays = [](const Region& b) { return std::pair(lifetime(b), b.bytes); };
  // Buffers that are live at the peak come first.
  const auto at_peak = [&](const Region& b) {
    return std::pair(lives_at(b, best.lower_bound_stage), b.bytes);
  };
  const auto early = [](const Region& b) { return std::pair(~b.live.begin, b.bytes); };
  const auto late = [](const Region& b) { return std::pair(b.live.end, b.bytes); };
  try_order(buffers, order_by(buffers, area), best);
  try_order(buffers, order_by(buffers, stays), best);
  try_order(buffers, order_by(buffers, at_peak), best);
  try_order(buffers, order_by(buffers, early), best);
  try_order(buffers, order_by(buffers, late), best);
  repair_packing(buffers, order_by(buffers, [](const Region& b) { return b.bytes; }), best);
  repair_packing(buffers, order_by(buffers, area), best);
}

}  // namespace

Packing pack(std::span<const Region> buffers) {
  for (const Region& buffer : buffers) check_buffer(buffer);
  Packing packing{.offsets = std::vector<std::uint64_t>(buffers.size())};
  find_lower_bound(buffers, packing);
  place_in_order(buffers, order_by(buffers, [](const Region& b) { return b.bytes; }), packing);
  try_other_orders(buffers, packing);
  return packing;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
