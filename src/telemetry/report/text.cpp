#include "telemetry/report/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace tapedeck::internal::report {
namespace {

constexpr std::size_t kLongestName = 120;

std::string one_decimal(double value, const char* unit) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.begin(), text.end(), value, std::chars_format::fixed, 1).ptr;
  return std::string(text.begin(), end) + unit;
}

std::string two_parts(std::uint64_t whole, const char* unit, std::uint64_t part,
                      const char* part_unit) {
  return std::to_string(whole) + unit + (part < 10 ? "0" : "") + std::to_string(part) + part_unit;
}

constexpr std::string_view kCannotBeShown = "\xEF\xBF\xBD";

/// Bytes of the control character that a text begins with, those that turn the direction of
/// writing too (U+202A to U+202E, U+2066 to U+2069); 0 for any other.
std::size_t unshowable(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text[0]);
  if (byte < ' ' || byte == 0x7F) return 1;
  if (text.size() < 3 || byte != 0xE2) return 0;
  const auto last = static_cast<unsigned char>(text[2]);
  const bool embeds = text[1] == '\x80' && last >= 0xAA && last <= 0xAE;
  const bool isolates = text[1] == '\x81' && last >= 0xA6 && last <= 0xA9;
  return embeds || isolates ? 3 : 0;
}

// Where a character of UTF-8 does not go on.
std::size_t cut_at(std::string_view text, std::size_t bytes) {
  while (bytes != 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) --bytes;
  return bytes;
}

}  // namespace

std::string shown(std::string_view name) {
  const bool cut = name.size() > kLongestName;
  std::string text;
  std::string_view left = name.substr(0, cut ? cut_at(name, kLongestName) : name.size());
  while (!left.empty()) {
    const std::size_t bytes = unshowable(left);
    text += bytes == 0 ? left.substr(0, 1) : kCannotBeShown;
    left.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return cut ? text + "\xE2\x80\xA6" : text;
}

std::string time_text(std::uint64_t microseconds) {
  const auto value = static_cast<double>(microseconds);
  const std::uint64_t seconds = microseconds / 1'000'000;
  if (microseconds < 1000) return std::to_string(microseconds) + " \xC2\xB5s";
  if (seconds == 0) return one_decimal(value / 1e3, " ms");
  if (seconds < 120) return one_decimal(value / 1e6, " s");
  if (seconds < 7200) return two_parts(seconds / 60, " min ", seconds % 60, " s");
  return two_parts(seconds / 3600, " h ", seconds / 60 % 60, " min");
}

std::string base64_of_hex(std::string_view digits) {
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
