// SPDX-License-Identifier: Apache-2.0
#include "os/pressure.hpp"

#include <cstddef>
#include <string>
#include <string_view>

#include "os/proc_text.hpp"

namespace tapedeck::internal::os {
namespace {

/// Parses a percentage with two decimals into ten-thousandths: 1234 for "12.34".
std::optional<std::uint64_t> ten_thousandths(std::string_view percent) {
  constexpr std::uint64_t kWhole = 10'000;
  const std::size_t point = percent.find('.');
  if (point == 0 || percent.size() != point + 3) return std::nullopt;  // also without a point
  std::string digits(percent);
  digits.erase(point, 1);
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const auto share = parse<std::uint64_t>(digits);
  return share && *share <= kWhole ? share : std::nullopt;
}

/// The text after `key` ("total=") in a line, up to the next space.
std::string_view word_behind(std::string_view line, std::string_view key) {
  const std::size_t at = line.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = line.substr(at + key.size());
  return rest.substr(0, rest.find(' '));
}

// "avg10=0.00 avg60=0.00 avg300=0.00 total=0"
Stalls stalls_of(std::string_view line) {
  return {.average = ten_thousandths(word_behind(line, "avg10=")),
          .total = parse<std::uint64_t>(word_behind(line, "total="))};
}

}  // namespace

Pressure read_pressure(const std::string& path) {
  const std::string text = read_text(path);
  return {.some = stalls_of(text_behind(text, "some ")),
          .full = stalls_of(text_behind(text, "full "))};
}

Pressure memory_pressure(const KernelRoots& roots) {
  return read_pressure(roots.proc + "/pressure/memory");
}

}  // namespace tapedeck::internal::os
