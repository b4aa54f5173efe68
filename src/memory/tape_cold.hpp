/// @file
/// What `Tape` has beside its head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory/tape_parts.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct Tape::Cold : internal::TapeCold<Block, TapeOptions> {
  using TapeCold::TapeCold;

  std::vector<Tape> children;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
