// SPDX-License-Identifier: Apache-2.0
/// @file
/// `printable`: makes text from untrusted files safe to show.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The most bytes of a name that an error or a page shows.
inline constexpr std::size_t kMostOfName = 128;

/// The first `bytes` bytes of a text, or fewer, so that no UTF-8 character is cut in two.
[[nodiscard]] std::string_view beginning(std::string_view text, std::size_t bytes) noexcept;

/// At most the first `most` bytes of a text, followed by "..." if it is longer. Control characters,
/// which a terminal would interpret, and characters that change the writing direction are escaped
/// as in "\x1b".
[[nodiscard]] std::string printable(std::string_view text, std::size_t most = kMostOfName);

}  // namespace tapedeck::internal
