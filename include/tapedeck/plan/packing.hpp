// SPDX-License-Identifier: Apache-2.0
/// @file
/// `pack`: places buffers that are live at different times over each other to save memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The offset of each packed buffer. Thread-safety: a value.
struct Packing {
  std::vector<std::uint64_t> offsets;  ///< One for each buffer, in the given order.
  std::uint64_t peak = 0;              ///< Bytes from 0 to the end of the highest buffer.
  /// The largest sum of sizes that are live at one stage. No packing can have a smaller peak.
  std::uint64_t lower_bound = 0;
  std::uint32_t lower_bound_stage = 0;  ///< The first stage that reaches `lower_bound`.
};

/// Assigns an offset to every buffer so that no two buffers that are live at a common stage share a
/// byte. Only `name`, `bytes`, `alignment` and `live` are used. Each buffer goes to the lowest
/// offset that is free while it is live. Several orders are tried, and the best result is kept. The
/// first order is by size (Pisarchyk and Lee, "Efficient memory management for deep neural net
/// inference", 2020). Deterministic. O(n²) steps of a few nanoseconds each.
/// @code{.cpp}
/// using namespace tapedeck;
/// const Packing packing = pack(std::vector<Region>{
///     {.name = "scores", .bytes = 4096, .live = {0, 2}},
///     {.name = "output", .bytes = 1024, .live = {1, 3}},
///     {.name = "hidden", .bytes = 4096, .live = {2, 4}}});
/// assert(packing.peak == 5120);  // hidden reuses the bytes of the scores
/// assert(packing.lower_bound == 5120);
/// @endcode
/// @throws InvalidArgument if an alignment is not a power of two, an interval ends before it
/// begins, or the sizes do not fit in 64 bits.
[[nodiscard]] Packing pack(std::span<const Region> buffers);

}  // namespace tapedeck::inline TAPEDECK_ABI
