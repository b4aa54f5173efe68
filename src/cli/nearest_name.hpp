// SPDX-License-Identifier: Apache-2.0
/// @file
/// What a mistyped word was probably meant to be.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Returns the name closest to `word`, if one typing mistake in every three letters (at least one)
/// explains the difference: a missing, extra or wrong letter, or two neighbors swapped.
[[nodiscard]] std::optional<std::string> nearest_name(std::string_view word,
                                                      std::span<const std::string> names);

}  // namespace tapedeck::cli
