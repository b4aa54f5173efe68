/// @file
/// What a report writes for browsers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::report {

/// A hash in hexadecimal digits as browsers want it.
[[nodiscard]] inline std::string base64_of_hex(std::string_view digits) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char digit : digits) {
    bits = bits << 4U | static_cast<std::uint32_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    held += 4;
    if (held < 6) continue;
    held -= 6;
    text += kAlphabet[bits >> held & 63U];
  }
  if (held != 0) text += kAlphabet[bits << (6 - held) & 63U];
  while (text.size() % 4 != 0) text += '=';
  return text;
}

}  // namespace tapedeck::internal::report
