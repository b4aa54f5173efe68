/// @file
/// `LayoutSizes` and `Commit`: what layouts of the host and of devices are asked for alike.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Bytes of each tape.
struct LayoutSizes {
  std::size_t weights;
  std::size_t scratch;
  std::size_t history;  ///< For each talk.
};

/// When the pages of a layout that was made from a plan are committed.
enum class Commit : std::uint8_t {
  at_creation,  ///< All of them; weights are warm.
  with_talks,   ///< Those of the histories by `prepare`, the others at creation.
  nothing,      ///< Only histories, by `prepare`: a dry run, or weights that come another way.
};

}  // namespace tapedeck::inline TAPEDECK_ABI
