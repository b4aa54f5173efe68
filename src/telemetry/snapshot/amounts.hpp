/// @file
/// Arithmetic on what a recording claims, which may be anything: what does not fit is the most that
/// there is.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {

[[nodiscard]] inline std::uint64_t saturated_sum(std::uint64_t a, std::uint64_t b) noexcept {
  return checked_add(a, b).value_or(UINT64_MAX);
}
[[nodiscard]] inline std::uint64_t saturated_product(std::uint64_t a, std::uint64_t b) noexcept {
  return checked_mul(a, b).value_or(UINT64_MAX);
}
/// `part` of `whole` as a place among `steps`; more than all of it is all.
[[nodiscard]] inline std::uint64_t scaled(std::uint64_t part, std::uint64_t whole,
                                          std::uint64_t steps) noexcept {
  if (whole == 0 || part >= whole) return steps;
  return static_cast<std::uint64_t>(static_cast<double>(part) / static_cast<double>(whole) *
                                    static_cast<double>(steps));
}

}  // namespace tapedeck::internal
