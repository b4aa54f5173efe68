// SPDX-License-Identifier: Apache-2.0
/// @file
/// Cache regions of a talk, for plans that tests create.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {

/// The granularity of the devices in these tests.
inline constexpr std::size_t kDevicePage = std::size_t{64} << 10;

/// A cache of `cells` tokens, each with a row of `row` bytes.
[[nodiscard]] inline Region cache_region(const std::string& name, RegionRole role,
                                         std::uint64_t cells, std::uint64_t row) {
  return {.name = name,
          .role = role,
          .bytes = cells * row,
          .alignment = 4096,
          .growth = {.bytes_per_token = row, .capacity = cells}};
}

/// A plan with K and V of one layer, whose rows have the same number of bytes.
[[nodiscard]] inline Plan keys_and_values(std::uint64_t talks, std::uint64_t context,
                                          std::uint64_t row) {
  Plan plan;
  plan.talks = talks;
  plan.context_per_talk = context;
  for (const char* name : {"layers.0.k", "layers.0.v"}) {
    plan.history.append(cache_region(name, RegionRole::kv, context, row));
  }
  return plan;
}

}  // namespace tapedeck::tests
