// SPDX-License-Identifier: Apache-2.0
/// @file
/// `name_overflow`: names the option that makes a plan too large for 64 bits.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

/// An option that sizes are computed from.
template <class Options>
struct SizeOption {
  const char* name;  ///< For example "PlanOptions::overhead".
  std::uint64_t Options::*value;
  std::uint64_t least = 1;  ///< The smallest valid value.
};

[[nodiscard]] bool can_plan(const auto& options, const auto& plan) {
  try {
    static_cast<void>(plan(options));
    return true;
  } catch (const InvalidArgument&) {
    return false;
  }
}

/// Returns `plan(options)`. If that fails, sets one option after the other to its least value and
/// names the one that lets the plan succeed. Options below 2^32 are neither changed nor named,
/// because then the model's own sizes are the cause.
/// @throws InvalidArgument for that option if there is one, otherwise as thrown by `plan`.
template <class Options>
[[nodiscard]] auto name_overflow(const Options& options, std::span<const SizeOption<Options>> sizes,
                                 const auto& plan) {
  try {
    return plan(options);
  } catch (const InvalidArgument&) {
    Options smaller = options;
    for (const auto& [name, value, least] : sizes) {
      const std::uint64_t given = options.*value;
      if (given <= UINT32_MAX) continue;
      smaller.*value = least;
      if (!can_plan(smaller, plan)) continue;
      throw InvalidArgument({.argument = name, .value = given},
                            std::string(name) + " of " + std::to_string(given) +
                                " makes the plan too large for 64 bits",
                            "use a smaller value");
    }
    throw;
  }
}

}  // namespace tapedeck::internal
