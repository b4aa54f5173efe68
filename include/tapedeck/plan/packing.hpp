/// @file
/// `pack`: buffers that live at different times, laid over each other in as little room as may be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Where each buffer goes. Thread-safety: a value.
struct Packing {
  std::vector<std::uint64_t> offsets;  ///< Of each buffer, in the order they were given.
  std::uint64_t peak = 0;              ///< Bytes from 0 to the end of the highest buffer.
  /// The largest sum of the sizes that live at one time: no packing can be below it.
  std::uint64_t lower_bound = 0;
  std::uint32_t lower_bound_stage = 0;  ///< The first stage at which it is reached.
};

/// Gives every buffer an offset, from its name, bytes, alignment and live alone, so that no two
/// that live at a common stage share a byte: each at the lowest place that is free for as long as
/// it lives, in several orders, of which the best is kept. The first order is by size (Pisarchyk
/// and Lee, "Efficient memory management for deep neural net inference", 2020). Deterministic;
/// O(n²) steps of a few nanoseconds.
/// @code{.cpp}
/// using namespace tapedeck;
/// const Packing packing = pack(std::vector<Region>{
///     {.name = "scores", .bytes = 4096, .live = {0, 2}},
///     {.name = "output", .bytes = 1024, .live = {1, 3}},
///     {.name = "hidden", .bytes = 4096, .live = {2, 4}}});
/// assert(packing.peak == 5120);  // hidden lies where the scores were
/// assert(packing.lower_bound == 5120);
/// @endcode
/// @throws InvalidArgument for an alignment that is no power of two, an interval that ends before
/// it begins, or sizes that do not fit in 64 bits.
[[nodiscard]] Packing pack(std::span<const Region> buffers);

}  // namespace tapedeck::inline TAPEDECK_ABI
