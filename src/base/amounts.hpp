/// @file
/// Arithmetic on amounts that may be anything, and amounts as people read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {

/// A sum that does not fit is the most that there is.
[[nodiscard]] constexpr std::uint64_t saturated_sum(std::uint64_t a, std::uint64_t b) noexcept {
  return checked_add(a, b).value_or(UINT64_MAX);
}
/// A product that does not fit is the most that there is.
[[nodiscard]] constexpr std::uint64_t saturated_product(std::uint64_t a, std::uint64_t b) noexcept {
  return checked_mul(a, b).value_or(UINT64_MAX);
}
/// The sum of two figures; unknown where one of them is.
[[nodiscard]] constexpr std::optional<std::uint64_t> known_sum(
    std::optional<std::uint64_t> a, std::optional<std::uint64_t> b) noexcept {
  return a && b ? checked_add(*a, *b) : std::nullopt;
}
/// `part` of `whole` as a place among `steps`, rounded down; more than all of it is all.
[[nodiscard]] constexpr std::uint64_t scaled(std::uint64_t part, std::uint64_t whole,
                                             std::uint64_t steps) noexcept {
  if (whole == 0 || part >= whole) return steps;
  return static_cast<std::uint64_t>(static_cast<double>(part) / static_cast<double>(whole) *
                                    static_cast<double>(steps));
}

/// "61 %", rounded down; "133 %" where the part is larger, and "0 %" of nothing.
[[nodiscard]] std::string percent_text(std::uint64_t part, std::uint64_t whole);

/// "12.3 ms", "4 min 05 s".
[[nodiscard]] std::string time_text(std::uint64_t microseconds);

}  // namespace tapedeck::internal
