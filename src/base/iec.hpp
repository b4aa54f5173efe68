// SPDX-License-Identifier: Apache-2.0
/// @file
/// Sizes in IEC units as text that is not on the heap, for errors of full memory.
#pragma once

#include <array>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The text of a size, with a NUL at the end; "1023.9 KiB" is the longest.
using IecText = std::array<char, 16>;

/// The text that `to_iec` returns. Allocates nothing.
[[nodiscard]] IecText iec_text(std::uint64_t bytes) noexcept;

}  // namespace tapedeck::internal
