/// @file
/// The sizes of a layout that is watched.
#pragma once

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {

inline constexpr LayoutSizes kSizes = {.weights = 4_MiB, .scratch = 4_MiB, .history = 4_MiB};

}  // namespace tapedeck::tests
