// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/bytes.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "base/iec.hpp"

namespace tapedeck::internal {

IecText iec_text(std::uint64_t bytes) noexcept {
  constexpr std::array<std::string_view, 7> units = {" B",   " KiB", " MiB", " GiB",
                                                     " TiB", " PiB", " EiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  // Values of 1023.95 and more would be printed as 1024.
  for (; value >= (unit == 0 ? 1024 : 1023.95) && unit + 1 < units.size(); ++unit) value /= 1024;
  IecText text{};
  char* const begin = text.data();
  char* end = std::to_chars(begin, begin + text.size(), value, std::chars_format::fixed, 1).ptr;
  if (std::string_view(begin, end).ends_with(".0")) end -= 2;
  *std::copy(units[unit].begin(), units[unit].end(), end) = '\0';
  return text;
}

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

std::string to_iec(std::uint64_t bytes) { return internal::iec_text(bytes).data(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
