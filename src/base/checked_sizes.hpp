// SPDX-License-Identifier: Apache-2.0
/// @file
/// `CheckedSize`: products and sums whose overflow is the caller's mistake. Overflow is checked
/// once at the end of a chain of operations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

/// A count that remembers whether it ever overflowed.
class CheckedSize {
 public:
  // Implicit, so that formulas need no casts.
  constexpr CheckedSize(std::uint64_t value) noexcept  // NOLINT(google-explicit-constructor)
      : value_(value) {}

  friend constexpr CheckedSize operator+(CheckedSize a, CheckedSize b) noexcept {
    return a.value_ && b.value_ ? CheckedSize(checked_add(*a.value_, *b.value_)) : CheckedSize();
  }
  friend constexpr CheckedSize operator*(CheckedSize a, CheckedSize b) noexcept {
    return a.value_ && b.value_ ? CheckedSize(checked_mul(*a.value_, *b.value_)) : CheckedSize();
  }

  [[nodiscard]] constexpr const std::optional<std::uint64_t>& value() const noexcept {
    return value_;
  }
  /// @throws InvalidArgument if it overflowed.
  [[nodiscard]] std::uint64_t value_or_throw(const char* what) const {
    if (value_) return *value_;
    throw InvalidArgument({.argument = what}, std::string(what) + " does not fit in 64 bits",
                          "check the values it is computed from");
  }

 private:
  constexpr CheckedSize() noexcept = default;
  constexpr explicit CheckedSize(std::optional<std::uint64_t> value) noexcept : value_(value) {}

  std::optional<std::uint64_t> value_;
};

}  // namespace tapedeck::internal
