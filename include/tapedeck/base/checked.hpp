// SPDX-License-Identifier: Apache-2.0
/// @file
/// Arithmetic on sizes from untrusted input. On overflow it returns `nullopt` instead of wrapping.
/// @code{.cpp}
/// using tapedeck::checked_mul;
/// const auto bytes = checked_mul<std::size_t>(151'936, 1536, sizeof(float));
/// if (!bytes) return 2;  // the header claims more than the machine can address
/// @endcode
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The sum of all arguments, or `nullopt` if it does not fit in `T`.
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, std::same_as<T> auto... more) noexcept {
  bool fits = true;
  ((fits = fits && !__builtin_add_overflow(a, more, &a)), ...);
  return fits ? std::optional<T>(a) : std::nullopt;
}

/// The product of all arguments, or `nullopt` if it does not fit in `T`.
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_mul(T a,
                                                     std::convertible_to<T> auto... more) noexcept {
  bool fits = true;
  ((fits = fits && !__builtin_mul_overflow(a, static_cast<T>(more), &a)), ...);
  return fits ? std::optional<T>(a) : std::nullopt;
}

/// `n` rounded up to a multiple of `power_of_two`; wraps to 0 if the result does not fit.
[[nodiscard]] constexpr std::uintptr_t round_up(std::uintptr_t n,
                                                std::uintptr_t power_of_two) noexcept {
  return (n + (power_of_two - 1)) & ~(power_of_two - 1);
}

/// `n` rounded down to a multiple of `power_of_two`.
[[nodiscard]] constexpr std::uintptr_t round_down(std::uintptr_t n,
                                                  std::uintptr_t power_of_two) noexcept {
  return n & ~(power_of_two - 1);
}

/// Like `round_up`, but returns `nullopt` if the result does not fit.
[[nodiscard]] constexpr std::optional<std::uintptr_t> checked_round_up(
    std::uintptr_t n, std::uintptr_t power_of_two) noexcept {
  if (n > std::numeric_limits<std::uintptr_t>::max() - (power_of_two - 1)) return std::nullopt;
  return round_up(n, power_of_two);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
