// SPDX-License-Identifier: Apache-2.0
#include "base/printable.hpp"

#include <algorithm>

namespace tapedeck::internal {
namespace {

/// The size in bytes of the control character at the start of a text, or of a character that
/// changes the writing direction (U+202A to U+202E, U+2066 to U+2069); 0 for any other character.
std::size_t control_bytes(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text[0]);
  if (byte < ' ' || byte == 0x7F) return 1;
  if (text.size() < 3 || byte != 0xE2) return 0;
  const auto last = static_cast<unsigned char>(text[2]);
  const bool embeds = text[1] == '\x80' && last >= 0xAA && last <= 0xAE;
  const bool isolates = text[1] == '\x81' && last >= 0xA6 && last <= 0xA9;
  return embeds || isolates ? 3 : 0;
}

std::string escaped(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {'\\', 'x', kDigits[byte >> 4U], kDigits[byte & 15U]};
  }
  return text;
}

}  // namespace

std::string_view beginning(std::string_view text, std::size_t bytes) noexcept {
  if (text.size() <= bytes) return text;
  while (bytes != 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) --bytes;
  return text.substr(0, bytes);
}

std::string printable(std::string_view text, std::size_t most) {
  const bool is_cut = text.size() > most;
  std::string shown;
  for (std::string_view left = beginning(text, most); !left.empty();) {
    const std::size_t control = control_bytes(left);
    shown += control == 0 ? std::string(left.substr(0, 1)) : escaped(left.substr(0, control));
    left.remove_prefix(std::max<std::size_t>(control, 1));
  }
  return is_cut ? shown + "..." : shown;
}

}  // namespace tapedeck::internal
