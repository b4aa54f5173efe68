#include "cli/option_values.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

#include "tapedeck/base/checked.hpp"

namespace tapedeck::cli {
namespace {

std::optional<std::uint64_t> bytes_of_unit(std::string unit) {
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (unit.empty() || unit == "b") return 1;
  const std::size_t power = std::string_view("kmgt").find(unit[0]) + 1;
  const std::string_view rest = std::string_view(unit).substr(1);
  if (power == 0 || (!rest.empty() && rest != "b" && rest != "ib")) return std::nullopt;
  std::uint64_t bytes = 1;
  for (std::size_t i = 0; i < power; ++i) bytes *= rest == "b" ? 1000U : 1024U;
  return bytes;
}

// "1.5 GiB". Whole numbers exactly; a fraction, which only a unit can have, to the nearest byte.
std::optional<std::uint64_t> size_of(const std::string& text) {
  const char* const end = text.data() + text.size();
  std::uint64_t whole = 0;
  auto [rest, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc{}) return std::nullopt;
  const bool has_fraction = rest != end && *rest == '.';
  double fraction = 0;
  if (has_fraction) {
    const auto read = std::from_chars(rest, end, fraction, std::chars_format::fixed);
    if (read.ec != std::errc{}) return std::nullopt;
    rest = read.ptr;
  }
  if (rest != end && *rest == ' ') ++rest;
  const std::optional<std::uint64_t> unit = bytes_of_unit({rest, end});
  if (!unit || (has_fraction && *unit == 1)) return std::nullopt;
  const std::optional<std::uint64_t> bytes = checked_mul(whole, *unit);
  if (!bytes) return std::nullopt;
  const auto part = std::llround(fraction * static_cast<double>(*unit));
  return checked_add(*bytes, static_cast<std::uint64_t>(part));
}

}  // namespace

CLI::Validator whole_number() {
  return {[](const std::string& text) -> std::string {
            std::uint64_t number = 0;
            const char* const end = text.data() + text.size();
            const auto [rest, error] = std::from_chars(text.data(), end, number);
            return error == std::errc{} && rest == end ? "" : "no whole number: " + text;
          },
          ""};
}

CLI::Validator positive_number() {
  return {[](const std::string& text) -> std::string {
            double number = 0;
            const char* const end = text.data() + text.size();
            const auto [rest, error] = std::from_chars(text.data(), end, number);
            const bool good = error == std::errc{} && rest == end && std::isfinite(number);
            return good && number > 0 ? "" : "no positive number: " + text;
          },
          ""};
}

void as_size(CLI::Option* option) {
  // CLI11's own, AsSizeValue, takes whole numbers only.
  const CLI::Validator bytes = {[](std::string& text) -> std::string {
                                  const std::optional<std::uint64_t> size = size_of(text);
                                  if (!size)
                                    return "no size: " + text + " (24GiB, 1.5G, 512M, 1000)";
                                  text = std::to_string(*size);
                                  return {};
                                },
                                ""};
  option->transform(bytes)->option_text("SIZE");
}

}  // namespace tapedeck::cli
