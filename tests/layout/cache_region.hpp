/// @file
/// A cache of a talk, for plans that tests make.
#pragma once

#include <cstdint>
#include <string>

#include "tapedeck/plan/region.hpp"

namespace tapedeck::tests {

/// Of `cells` tokens, each a row of `row` bytes.
[[nodiscard]] inline Region cache_region(const std::string& name, RegionRole role,
                                         std::uint64_t cells, std::uint64_t row) {
  return {.name = name,
          .role = role,
          .bytes = cells * row,
          .alignment = 4096,
          .growth = {.bytes_per_token = row, .capacity = cells}};
}

}  // namespace tapedeck::tests
