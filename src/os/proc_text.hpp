// SPDX-License-Identifier: Apache-2.0
/// @file
/// Reads the files of /proc, /sys and cgroups. A value that is missing, malformed or too large is
/// unknown.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// The content of a file; empty if it cannot be read.
[[nodiscard]] std::string read_text(const std::string& path);

template <class Number>
[[nodiscard]] std::optional<Number> parse(std::string_view text, int base = 10) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  Number number{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return result.ec == std::errc{} ? std::optional(number) : std::nullopt;
}

/// Calls `is_it` with each part of a text, as divided by `separator`, until it returns true.
/// Returns whether it did.
template <class IsIt>
bool any_part(std::string_view text, char separator, IsIt is_it) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (is_it(text.substr(0, end))) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

/// The rest of the first line that starts with `key`; empty if there is none.
[[nodiscard]] std::string_view text_behind(std::string_view text, std::string_view key);

/// The number after `key` at the start of a line.
[[nodiscard]] std::optional<std::size_t> value_of(std::string_view text, std::string_view key);

/// The number of kB after `key` at the start of a line, converted to bytes.
[[nodiscard]] std::optional<std::size_t> kib_of(std::string_view text, std::string_view key);

/// The number that a file starts with; `nullopt` if it is not a number, such as "max".
[[nodiscard]] std::optional<std::size_t> read_number(const std::string& path);

}  // namespace tapedeck::internal::os
