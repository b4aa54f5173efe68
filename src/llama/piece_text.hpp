// SPDX-License-Identifier: Apache-2.0
/// @file
/// How tokenizer files write bytes and spaces that a piece cannot contain literally.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// Returns the byte that a piece such as "<0x0A>" stands for, or -1 for any other piece.
[[nodiscard]] inline int raw_byte(std::string_view piece) noexcept {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  unsigned byte = 0;
  const char* const end = &piece[5];
  return std::from_chars(&piece[3], end, byte, 16).ptr == end ? static_cast<int>(byte) : -1;
}

/// Returns the text with each U+2581, SentencePiece's mark for a space, replaced by a space.
[[nodiscard]] inline std::string with_spaces(std::string_view text) {
  constexpr std::string_view mark = "\xE2\x96\x81";
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark)) {
    out += text.substr(0, at);
    out += ' ';
    text.remove_prefix(at + mark.size());
  }
  return out += text;
}

}  // namespace tapedeck::llama
