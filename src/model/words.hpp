// SPDX-License-Identifier: Apache-2.0
/// @file
/// Words in a text, separated by single spaces. The tables of this room list names in this form.
#pragma once

#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Removes the first word and returns it.
[[nodiscard]] constexpr std::string_view next_word(std::string_view& words) noexcept {
  const std::string_view word = words.substr(0, words.find(' '));
  words.remove_prefix(word.size() == words.size() ? word.size() : word.size() + 1);
  return word;
}

/// Returns true if `word` is one of the words.
[[nodiscard]] constexpr bool has_word(std::string_view words, std::string_view word) noexcept {
  while (!words.empty()) {
    if (next_word(words) == word) return true;
  }
  return false;
}

}  // namespace tapedeck::internal
