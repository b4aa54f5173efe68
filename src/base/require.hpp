// SPDX-License-Identifier: Apache-2.0
/// @file
/// Checks of numbers that callers pass.
#pragma once

#include <cstdint>
#include <string>

#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

/// @throws InvalidArgument for 0.
inline void require_one(const char* argument, std::uint64_t value) {
  if (value != 0) return;
  throw InvalidArgument({.argument = argument, .value = 0, .limit = 1},
                        std::string(argument) + " is 0", "it must be at least 1");
}

/// @throws InvalidArgument if `value` is 0 or does not divide `whole`.
inline void require_divides(const char* argument, std::uint64_t value, const char* whole_name,
                            std::uint64_t whole) {
  require_one(argument, value);
  if (whole % value == 0) return;
  throw InvalidArgument({.argument = argument, .value = value},
                        std::string(argument) + " of " + std::to_string(value) +
                            " does not divide " + whole_name + " of " + std::to_string(whole),
                        "use a divisor");
}

}  // namespace tapedeck::internal
