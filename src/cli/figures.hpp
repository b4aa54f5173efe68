/// @file
/// Counts of bytes, as people and as programs read them, where the kernel may not have told.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// "[############........]  63 %", always as wide. Rounded down: 100 % is all of it.
[[nodiscard]] std::string bar_text(std::optional<std::uint64_t> part, std::uint64_t whole);

/// "1.9 GiB", or "unknown".
[[nodiscard]] std::string size_text(std::optional<std::uint64_t> bytes);

/// The number, or null.
[[nodiscard]] nlohmann::ordered_json number_json(std::optional<std::uint64_t> number);

/// One object, on lines. File names and tensor names need not be text: what is no UTF-8 in them is
/// replaced.
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& json);

}  // namespace tapedeck::cli
