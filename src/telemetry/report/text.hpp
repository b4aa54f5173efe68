// SPDX-License-Identifier: Apache-2.0
/// @file
/// Texts of a report in the forms that browsers read.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::report {

/// Converts a hash from hexadecimal digits to base64, as a Content-Security-Policy has it.
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

/// A date and time, in UTC.
class DateText {
 public:
  /// @param seconds  since 1970-01-01 00:00 UTC. @pre seconds <= kLatestBeginning
  explicit DateText(std::uint64_t seconds) {
    const std::chrono::sys_seconds at{std::chrono::seconds(seconds)};
    const auto midnight = std::chrono::floor<std::chrono::days>(at);
    const std::chrono::year_month_day day(midnight);
    const std::chrono::hh_mm_ss time(at - midnight);
    day_ = digits(static_cast<int>(day.year()), 4) + "-" +
           digits(static_cast<unsigned>(day.month()), 2) + "-" +
           digits(static_cast<unsigned>(day.day()), 2);
    time_ = digits(time.hours().count(), 2) + ":" + digits(time.minutes().count(), 2) + ":" +
            digits(time.seconds().count(), 2);
  }

  /// "2026-11-28 05:57:54 UTC".
  [[nodiscard]] std::string for_people() const { return day_ + " " + time_ + " UTC"; }
  /// "2026-11-28T05:57:54Z", for the attribute `datetime`.
  [[nodiscard]] std::string for_browsers() const { return day_ + "T" + time_ + "Z"; }

 private:
  template <class Number>
  [[nodiscard]] static std::string digits(Number number, std::size_t count) {
    const std::string text = std::to_string(number);
    return std::string(count - std::min(count, text.size()), '0') + text;
  }

  std::string day_;
  std::string time_;
};

}  // namespace tapedeck::internal::report
