// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/bytes.hpp"

#include <array>
#include <charconv>

namespace tapedeck::inline TAPEDECK_ABI {

std::string to_iec(std::uint64_t bytes) {
  constexpr std::array units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes) / 1024;
  // Values of 1023.95 and more would be printed as 1024.
  for (; value >= 1023.95 && unit + 1 < units.size(); ++unit) value /= 1024;
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.begin(), text.end(), value, std::chars_format::fixed, 1).ptr;
  std::string number(text.begin(), end);
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return number + " " + units[unit];
}

}  // namespace tapedeck::inline TAPEDECK_ABI
