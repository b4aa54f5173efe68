/// @file
/// Ranges for NVIDIA's profilers, which load what listens to them; nobody does otherwise.
#pragma once

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Nothing without NVTX's headers.
void push_range(const char* name) noexcept;
void pop_range() noexcept;

}  // namespace tapedeck::internal
