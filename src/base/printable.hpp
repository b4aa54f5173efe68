/// @file
/// Text out of files that are not trusted, as people may be shown it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Bytes of a name that an error or a page shows.
inline constexpr std::size_t kMostOfName = 128;

/// The first `bytes` bytes of a text, or fewer, so that no character of UTF-8 is cut in two.
[[nodiscard]] std::string_view beginning(std::string_view text, std::size_t bytes) noexcept;

/// At most so many bytes of a text, and "..." where it goes on. Control characters, which would
/// drive a terminal, and those that turn the direction of writing become "\x1b".
[[nodiscard]] std::string printable(std::string_view text, std::size_t most = kMostOfName);

}  // namespace tapedeck::internal
