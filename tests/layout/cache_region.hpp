/// @file
/// Caches of a talk, for plans that tests make.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {

/// What the devices of these tests map at a time.
inline constexpr std::size_t kDevicePage = std::size_t{64} << 10;

/// Of `cells` tokens, each a row of `row` bytes.
[[nodiscard]] inline Region cache_region(const std::string& name, RegionRole role,
                                         std::uint64_t cells, std::uint64_t row) {
  return {.name = name,
          .role = role,
          .bytes = cells * row,
          .alignment = 4096,
          .growth = {.bytes_per_token = row, .capacity = cells}};
}

/// A plan of K and V of one layer, in rows of as many bytes each.
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
