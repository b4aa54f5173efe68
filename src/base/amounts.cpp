// SPDX-License-Identifier: Apache-2.0
#include "base/amounts.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace tapedeck::internal {
namespace {

std::string one_decimal(double value, const char* unit) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.begin(), text.end(), value, std::chars_format::fixed, 1).ptr;
  return std::string(text.begin(), end) + unit;
}

std::string two_parts(std::uint64_t whole, const char* unit, std::uint64_t part,
                      const char* part_unit) {
  return std::to_string(whole) + unit + (part < 10 ? "0" : "") + std::to_string(part) + part_unit;
}

}  // namespace

std::string percent_text(std::uint64_t part, std::uint64_t whole) {
  constexpr double kMost = 1e6;
  if (whole == 0) return "0 %";
  const double share = 100 * static_cast<double>(part) / static_cast<double>(whole);
  return std::to_string(static_cast<std::uint64_t>(std::min(share, kMost))) + " %";
}

std::string count_of(std::uint64_t count, std::string_view noun) {
  std::string text = std::to_string(count) + " " + std::string(noun);
  if (count == 1) return text;
  const auto ends_with_any = [&](auto... endings) { return (text.ends_with(endings) || ...); };
  if (text.ends_with('y') && !ends_with_any("ay", "ey", "oy")) {
    text.back() = 'i';
    return text + "es";
  }
  return text + (ends_with_any("s", "x", "ch", "sh") ? "es" : "s");
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

}  // namespace tapedeck::internal
