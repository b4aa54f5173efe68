/// @file
/// Hugging Face config.json files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/model/metadata.hpp"

namespace tapedeck::internal {

// Real ones have some kilobytes, 5 levels and at most some thousand entries.
inline constexpr std::uint64_t kMostConfigBytes = 64_MiB;
inline constexpr std::size_t kMostConfigDepth = 64;
inline constexpr std::size_t kMostConfigEntries = 100'000;
inline constexpr std::size_t kMostConfigRepeats = 100;

/// A config.json, flattened: the path to a value is joined by dots, elements of lists of objects
/// are numbered ("block_configs.3.ffn.ffn_mult"). As in Python, of several values of one key the
/// last one counts, and Infinity and NaN are no fault; they are kept as texts.
/// @throws SystemError; FormatError where it is no JSON object, or beyond the limits above.
[[nodiscard]] Metadata read_json_config(const std::filesystem::path& path);

}  // namespace tapedeck::internal
