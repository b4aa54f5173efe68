#include "tapedeck/plan/packing.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <utility>

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
    if (internal::fits(internal::CheckedSize(at) + buffer.bytes) <= other.offset) break;
    if (other.end > at) at = internal::up_to_multiple(other.end, buffer.alignment);
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
    live = change.begins ? internal::fits(internal::CheckedSize(live) + change.bytes)
                         : live - change.bytes;
    if (live <= packing.lower_bound) continue;
    packing.lower_bound = live;
    packing.lower_bound_stage = change.stage;
  }
}

using Order = std::vector<std::size_t>;

/// Larger keys first; of equal ones, those that were given first.
template <class Key>
Order order_by(std::span<const Buffer> buffers, Key key) {
  Order order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return key(buffers[a]) > key(buffers[b]); });
  return order;
}

/// Each buffer at the lowest place that those before it in the order leave.
void place(std::span<const Buffer> buffers, const Order& order, Packing& packing) {
  packing.peak = 0;
  std::vector<Placed> placed;
  placed.reserve(buffers.size());
  for (const std::size_t index : order) {
    const Buffer& buffer = buffers[index];
    const std::uint64_t offset = lowest_gap(placed, buffer);
    const Placed here{offset, internal::fits(internal::CheckedSize(offset) + buffer.bytes),
                      buffer.live};
    packing.offsets[index] = offset;
    packing.peak = std::max(packing.peak, here.end);
    if (buffer.bytes == 0) continue;  // takes no room, and would only be stepped over
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [](std::uint64_t at, const Placed& other) { return at < other.offset; }),
        here);
  }
}

void improve(std::span<const Buffer> buffers, const Order& order, Packing& best) {
  if (best.peak <= best.lower_bound) return;
  Packing other = best;
  place(buffers, order, other);
  if (other.peak < best.peak) best = std::move(other);
}

std::uint32_t lifetime(const Buffer& buffer) { return buffer.live.end - buffer.live.begin; }

// Whoever ends highest is given the first choice, again and again.
void repair(std::span<const Buffer> buffers, Order order, Packing& best) {
  constexpr int kTries = 64;
  constexpr std::size_t kMost = 256;
  Packing now = best;
  for (int i = 0; i < kTries && buffers.size() <= kMost; ++i) {
    if (best.peak <= best.lower_bound) return;
    place(buffers, order, now);
    if (now.peak < best.peak) best = now;
    const auto highest = std::find_if(order.begin(), order.end(), [&](std::size_t index) {
      return now.offsets[index] + buffers[index].bytes == now.peak;
    });
    std::rotate(order.begin(), highest, std::next(highest));
  }
}

// No order is best for all; each costs as much as the first.
void try_other_orders(std::span<const Buffer> buffers, Packing& best) {
  constexpr std::size_t kMost = 2048;  // More would take longer than it gains.
  if (buffers.size() > kMost || best.peak <= best.lower_bound) return;
  // Another order's sums must fit too, whatever it does.
  internal::CheckedSize all = 0;
  for (const Buffer& b : buffers) all = all + b.bytes + b.alignment;
  if (!all.value()) return;
  const auto area = [](const Buffer& b) {
    return static_cast<double>(b.bytes) * static_cast<double>(lifetime(b));
  };
  const auto stays = [](const Buffer& b) { return std::pair(lifetime(b), b.bytes); };
  // Around the time at which most is needed, then outwards.
  const auto at_peak = [&](const Buffer& b) {
    const bool there =
        b.live.begin <= best.lower_bound_stage && best.lower_bound_stage < b.live.end;
    return std::pair(there, b.bytes);
  };
  const auto early = [](const Buffer& b) { return std::pair(~b.live.begin, b.bytes); };
  const auto late = [](const Buffer& b) { return std::pair(b.live.end, b.bytes); };
  improve(buffers, order_by(buffers, area), best);
  improve(buffers, order_by(buffers, stays), best);
  improve(buffers, order_by(buffers, at_peak), best);
  improve(buffers, order_by(buffers, early), best);
  improve(buffers, order_by(buffers, late), best);
  repair(buffers, order_by(buffers, [](const Buffer& b) { return b.bytes; }), best);
  repair(buffers, order_by(buffers, area), best);
}

}  // namespace

Packing pack(std::span<const Buffer> buffers) {
  for (const Buffer& buffer : buffers) check(buffer);
  Packing packing{.offsets = std::vector<std::uint64_t>(buffers.size())};
  find_lower_bound(buffers, packing);
  place(buffers, order_by(buffers, [](const Buffer& b) { return b.bytes; }), packing);
  try_other_orders(buffers, packing);
  return packing;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
