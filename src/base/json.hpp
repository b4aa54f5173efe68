// SPDX-License-Identifier: Apache-2.0
/// @file
/// How the library writes JSON, and a check for reading untrusted JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Writes JSON on one line, or indented. Invalid UTF-8 is replaced, since names of files and
/// tensors may contain arbitrary bytes.
template <class Json>
[[nodiscard]] std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// The number, or null if it is unknown.
[[nodiscard]] inline nlohmann::ordered_json number_json(std::optional<std::uint64_t> number) {
  return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json();
}

/// Whether braces and brackets outside of strings are nested deeper than `deepest`. Check this
/// before parsing: each bracket is one byte of text, but about 80 bytes of memory when parsed.
[[nodiscard]] inline bool is_nested_deeper(std::string_view text, std::size_t deepest) noexcept {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\') ++i;  // skip the escaped character
    if (in_string) continue;
    if ((c == '{' || c == '[') && ++depth > deepest) return true;
    if ((c == '}' || c == ']') && depth != 0) --depth;
  }
  return false;
}

}  // namespace tapedeck::internal
