#include "cli/figures.hpp"

#include <fmt/format.h>

#include <cstddef>

#include "tapedeck/base/bytes.hpp"

namespace tapedeck::cli {
namespace {

constexpr std::size_t kCells = 20;  // with everything beside it, a line fits in 80 columns

std::size_t share_of(std::uint64_t part, std::uint64_t whole, std::size_t steps) {
  if (part >= whole) return steps;
  return static_cast<std::size_t>(static_cast<double>(steps) * static_cast<double>(part) /
                                  static_cast<double>(whole));
}

}  // namespace

std::string bar_text(std::optional<std::uint64_t> part, std::uint64_t whole) {
  if (!part) return fmt::format("[{:?<{}}]   ? %", "", kCells);
  const std::size_t full = share_of(*part, whole, kCells);
  return fmt::format("[{:#<{}}{:.<{}}] {:>3} %", "", full, "", kCells - full,
                     share_of(*part, whole, 100));
}

std::string size_text(std::optional<std::uint64_t> bytes) {
  return bytes ? to_iec(*bytes) : "unknown";
}

nlohmann::ordered_json number_json(std::optional<std::uint64_t> number) {
  return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json();
}

std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace tapedeck::cli
