/// @file
/// Sizes of planners: `CheckedSize`, asked at once, rounding to any step, and what is refused.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include "base/checked_sizes.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// What regions of a device, and buffers that a kernel reads, are aligned to: what a device's
/// allocations are. Extents of layers are whole multiples, so that they can lie behind one another
/// in any choice.
inline constexpr std::uint64_t kDeviceAlignment = 256;

/// `InvalidArgument::argument` of a plan that is too large.
inline constexpr const char* kThePlan = "the plan";

/// @throws InvalidArgument if it does not fit in 64 bits.
[[nodiscard]] inline std::uint64_t fits(const CheckedSize& size) {
  return size.value_or_throw(kThePlan);
}

/// What does not fit in 64 bits is the most there is: it fits in no memory, and in no second
/// either.
[[nodiscard]] constexpr std::uint64_t saturated(const CheckedSize& size) noexcept {
  return size.value().value_or(UINT64_MAX);
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

/// Bytes of so many elements, one after the other.
/// @throws InvalidArgument where the type's blocks do not divide them, or it does not fit in 64
/// bits.
[[nodiscard]] inline std::uint64_t row_bytes(DType type, std::uint64_t elements) {
  if (const auto bytes = bytes_of(type, elements)) return *bytes;
  throw InvalidArgument({.argument = "elements", .value = elements},
                        "a row of " + std::to_string(elements) + " elements cannot be stored as " +
                            std::string(to_string(type)));
}

/// @throws InvalidArgument for figures that are negative or not finite.
inline double require_finite(const std::string& argument, double figure) {
  if (std::isfinite(figure) && figure >= 0) return figure;
  throw InvalidArgument({.argument = argument}, argument + " cannot be " + std::to_string(figure),
                        "give a finite number that is not negative");
}

/// @throws InvalidArgument where a region's alignment is no power of two.
inline void require_alignment(const Region& region) {
  if (std::has_single_bit(region.alignment)) return;
  throw InvalidArgument({.argument = "Region::alignment", .value = region.alignment},
                        "the alignment of region " + region.name + " is " +
                            std::to_string(region.alignment) + ", which is not a power of two");
}

/// @throws InvalidArgument for 0, and for more than the most.
inline void require_count(const char* argument, const char* what, std::uint64_t count,
                          std::uint64_t most) {
  if (count != 0 && count <= most) return;
  throw InvalidArgument({.argument = argument, .value = count, .limit = count == 0 ? 1 : most},
                        "there cannot be " + std::to_string(count) + " " + what,
                        "ask for 1 to " + std::to_string(most));
}

}  // namespace tapedeck::internal
