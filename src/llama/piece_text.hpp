/// @file
/// How tokenizer files write what a piece cannot show as itself.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// "<0x0A>" is the byte 10; -1 for any other piece.
[[nodiscard]] inline int raw_byte(std::string_view piece) noexcept {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  unsigned byte = 0;
  const char* const end = &piece[5];
  return std::from_chars(&piece[3], end, byte, 16).ptr == end ? static_cast<int>(byte) : -1;
}

/// With SentencePiece's mark for a space, U+2581, as a space.
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
