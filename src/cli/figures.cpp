#include "cli/figures.hpp"

#include <fmt/format.h>

#include <cstddef>

#include "base/amounts.hpp"
#include "base/json.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::cli {
namespace {

constexpr std::size_t kCells = 20;  // with everything beside it, a line fits in 80 columns

}  // namespace

std::string bar_text(std::optional<std::uint64_t> part, std::uint64_t whole) {
  if (!part) return fmt::format("[{:?<{}}]   ? %", "", kCells);
  const std::size_t full = internal::scaled(*part, whole, kCells);
  return fmt::format("[{:#<{}}{:.<{}}] {:>3} %", "", full, "", kCells - full,
                     internal::scaled(*part, whole, 100));
}

std::string size_text(std::optional<std::uint64_t> bytes) {
  return bytes ? to_iec(*bytes) : "unknown";
}

std::string json_text(const nlohmann::ordered_json& json) {
  return internal::json_text(json, 2) + "\n";
}

}  // namespace tapedeck::cli
