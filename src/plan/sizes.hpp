/// @file
/// Sizes of planners: `CheckedSize`, asked at once, and rounding to any step.
#pragma once

#include <cstdint>

#include "base/checked_sizes.hpp"

namespace tapedeck::internal {

/// @throws InvalidArgument if it does not fit in 64 bits.
[[nodiscard]] inline std::uint64_t fits(const CheckedSize& size) {
  return size.value_or_throw("the plan");
}

/// `n` in parts of `part`, the last one perhaps not full. @pre part is not 0.
[[nodiscard]] constexpr std::uint64_t parts(std::uint64_t n, std::uint64_t part) noexcept {
  return n / part + (n % part != 0 ? 1 : 0);
}

/// `n` rounded up to a multiple of `step`, which need be no power of two. @pre step is not 0.
/// @throws InvalidArgument if it does not fit in 64 bits.
[[nodiscard]] inline std::uint64_t up_to_multiple(std::uint64_t n, std::uint64_t step) {
  return fits(CheckedSize(parts(n, step)) * step);
}

}  // namespace tapedeck::internal
