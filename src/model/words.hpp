/// @file
/// Words in a text, which single blanks separate: how the tables of this room list names.
#pragma once

#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The first word, which is taken off the front.
[[nodiscard]] constexpr std::string_view next_word(std::string_view& words) noexcept {
  const std::string_view word = words.substr(0, words.find(' '));
  words.remove_prefix(word.size() == words.size() ? word.size() : word.size() + 1);
  return word;
}

/// True where `word` is one of the words.
[[nodiscard]] constexpr bool has_word(std::string_view words, std::string_view word) noexcept {
  while (!words.empty()) {
    if (next_word(words) == word) return true;
  }
  return false;
}

}  // namespace tapedeck::internal
