// SPDX-License-Identifier: Apache-2.0
/// @file
/// The largest numbers, of bytes and in general.
#pragma once

#include <cstdint>
#include <limits>

namespace tapedeck::tests {

inline constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

}  // namespace tapedeck::tests
