/// @file
/// Figures of several tapes as those of one.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/tape_stat.hpp"

namespace tapedeck::internal {

void add(TapeStat& sum, const TapeStat& one) noexcept;

}  // namespace tapedeck::internal
