// SPDX-License-Identifier: Apache-2.0
/// @file
/// Helpers for the sizes that planners compute: overflow checks, rounding and argument checks.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include "base/amounts.hpp"
#include "base/checked_sizes.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// The alignment of a device's allocations, and so of device regions and of buffers that a kernel
/// reads. Extents of layers are multiples of it, so any selection of layers can be placed one after
/// another.
inline constexpr std::uint64_t kDeviceAlignment = 256;

/// @throws InvalidArgument if it does not fit in 64 bits.
[[nodiscard]] inline std::uint64_t fits(const CheckedSize& size) {
  return size.value_or_throw("the plan");
}

/// Returns the size, or the largest 64-bit value if it overflowed. Such a size exceeds any memory
/// and any bandwidth.
[[nodiscard]] constexpr std::uint64_t saturated(const CheckedSize& size) noexcept {
  return size.value().value_or(UINT64_MAX);
}

/// Returns how many parts of `part` hold `n`; the last one may be partial. @pre part is not 0.
[[nodiscard]] constexpr std::uint64_t parts(std::uint64_t n, std::uint64_t part) noexcept {
  return n / part + (n % part != 0 ? 1 : 0);
}

/// Rounds `n` up to a multiple of `step`, which need not be a power of two. @pre step is not 0.
/// @throws InvalidArgument if it does not fit in 64 bits.
[[nodiscard]] inline std::uint64_t up_to_multiple(std::uint64_t n, std::uint64_t step) {
  return fits(CheckedSize(parts(n, step)) * step);
}

/// Returns the bytes of a row of contiguous elements.
/// @throws InvalidArgument if the type's blocks do not divide the row, or its size does not fit in
/// 64 bits.
[[nodiscard]] inline std::uint64_t row_bytes(DType type, std::uint64_t elements) {
  if (const auto bytes = bytes_of(type, elements)) return *bytes;
  throw InvalidArgument({.argument = "elements", .value = elements},
                        "a row of " + count_of(elements, "element") + " cannot be stored as " +
                            std::string(to_string(type)));
}

/// @throws InvalidArgument for numbers that are negative or not finite.
inline double require_finite(const std::string& argument, double figure) {
  if (std::isfinite(figure) && figure >= 0) return figure;
  throw InvalidArgument({.argument = argument}, argument + " cannot be " + std::to_string(figure),
                        "give a finite number that is not negative");
}

/// @throws InvalidArgument if a region's alignment is not a power of two.
inline void require_alignment(const Region& region) {
  if (std::has_single_bit(region.alignment)) return;
  throw InvalidArgument({.argument = "Region::alignment", .value = region.alignment},
                        "the alignment of region " + region.name + " is " +
                            std::to_string(region.alignment) + ", which is not a power of two");
}

/// @throws InvalidArgument if the count is 0 or exceeds `most`.
inline void require_count(const char* argument, const char* what, std::uint64_t count,
                          std::uint64_t most) {
  if (count != 0 && count <= most) return;
  throw InvalidArgument({.argument = argument, .value = count, .limit = count == 0 ? 1 : most},
                        "there cannot be " + std::to_string(count) + " " + what,
                        "use 1 to " + std::to_string(most));
}

}  // namespace tapedeck::internal
