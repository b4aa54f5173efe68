/// @file
/// JSON as it is written everywhere, and as it may be read from where nothing is trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// On one line, or indented. Names of files and tensors need not be text: what is no UTF-8 in them
/// is replaced.
template <class Json>
[[nodiscard]] std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// The number, or null where it is unknown.
[[nodiscard]] inline nlohmann::ordered_json number_json(std::optional<std::uint64_t> number) {
  return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json();
}

/// Whether braces and brackets outside of strings are nested deeper. Asked before a text is parsed:
/// each is a byte of it, and some eighty bytes of memory once it is read.
[[nodiscard]] inline bool is_nested_deeper(std::string_view text, std::size_t deepest) noexcept {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\') ++i;  // and what follows
    if (in_string) continue;
    if ((c == '{' || c == '[') && ++depth > deepest) return true;
    if ((c == '}' || c == ']') && depth != 0) --depth;
  }
  return false;
}

}  // namespace tapedeck::internal
