// SPDX-License-Identifier: Apache-2.0
/// @file
/// Arithmetic on unchecked amounts, and amounts as readable text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {

/// The sum, or the largest number if it does not fit.
[[nodiscard]] constexpr std::uint64_t saturated_sum(std::uint64_t a, std::uint64_t b) noexcept {
  return checked_add(a, b).value_or(UINT64_MAX);
}
/// The product, or the largest number if it does not fit.
[[nodiscard]] constexpr std::uint64_t saturated_product(std::uint64_t a, std::uint64_t b) noexcept {
  return checked_mul(a, b).value_or(UINT64_MAX);
}
/// The sum of two numbers; `nullopt` if one of them is unknown or the sum does not fit.
[[nodiscard]] constexpr std::optional<std::uint64_t> known_sum(
    std::optional<std::uint64_t> a, std::optional<std::uint64_t> b) noexcept {
  return a && b ? checked_add(*a, *b) : std::nullopt;
}
/// Scales `part` of `whole` to a number from 0 to `steps`, rounded down. A part larger than the
/// whole, and any part of an empty whole, gives `steps`.
[[nodiscard]] constexpr std::uint64_t scaled(std::uint64_t part, std::uint64_t whole,
                                             std::uint64_t steps) noexcept {
  if (whole == 0 || part >= whole) return steps;
  return static_cast<std::uint64_t>(static_cast<double>(part) / static_cast<double>(whole) *
                                    static_cast<double>(steps));
}

/// "61 %", rounded down. Gives more than 100 % if the part is larger than the whole, and "0 %" if
/// the whole is 0.
[[nodiscard]] std::string percent_text(std::uint64_t part, std::uint64_t whole);

/// A count and what is counted: "1 layer", "2 layers", "3 passes", "0 entries".
[[nodiscard]] std::string count_of(std::uint64_t count, std::string_view noun);

/// "12.3 ms", "4 min 05 s".
[[nodiscard]] std::string time_text(std::uint64_t microseconds);

}  // namespace tapedeck::internal
