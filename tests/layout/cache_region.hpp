/// @file
/// A cache of a talk, for plans that tests make.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tapedeck/plan/region.hpp"

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

}  // namespace tapedeck::tests
