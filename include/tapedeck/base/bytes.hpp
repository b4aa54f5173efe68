// SPDX-License-Identifier: Apache-2.0
/// @file
/// Byte literals, and byte counts as readable text. All sizes in this library are in bytes.
/// @code{.cpp}
/// using namespace tapedeck::literals;
/// static_assert(4_KiB == 4096 && 1_GiB == 1024_MiB);
/// @endcode
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

inline namespace literals {

// clang-format off
constexpr std::size_t operator""_KiB(unsigned long long n) { return static_cast<std::size_t>(n) << 10; }
constexpr std::size_t operator""_MiB(unsigned long long n) { return static_cast<std::size_t>(n) << 20; }
constexpr std::size_t operator""_GiB(unsigned long long n) { return static_cast<std::size_t>(n) << 30; }
// clang-format on

}  // namespace literals

/// The default alignment of a take on the host. It is the size of a cache line and of the widest
/// vector register in use. Takes and plans use whole lines.
inline constexpr std::size_t kLine = 64;

/// Formats a size in IEC units with at most one decimal: "512 B", "1.5 KiB", "64 MiB".
[[nodiscard]] std::string to_iec(std::uint64_t bytes);

}  // namespace tapedeck::inline TAPEDECK_ABI
