/// @file
/// Counts of bytes as people read them, where the kernel may not have told; JSON for programs.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// "[############........]  63 %", always as wide. Rounded down: 100 % is all of it.
[[nodiscard]] std::string bar_text(std::optional<std::uint64_t> part, std::uint64_t whole);

/// "1.9 GiB", or "unknown".
[[nodiscard]] std::string size_text(std::optional<std::uint64_t> bytes);

/// Of what a command prints with `--json`, its member `schema`. It is raised where a field changes
/// its meaning; fields may be added.
inline constexpr int kGpusSchema = 1;
inline constexpr int kPlanSchema = 1;  ///< Of `fit`, too.
inline constexpr int kResidentSchema = 1;
inline constexpr int kWarmSchema = 1;

/// One object, on lines.
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& json);

}  // namespace tapedeck::cli
