// SPDX-License-Identifier: Apache-2.0
/// @file
/// Hugging Face config.json files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/model/metadata.hpp"

namespace tapedeck::internal {

// Real files have a few kilobytes, 5 levels and at most a few thousand entries.
inline constexpr std::uint64_t kMostConfigBytes = 64_MiB;
inline constexpr std::size_t kMostConfigDepth = 64;
inline constexpr std::size_t kMostConfigEntries = 100'000;
inline constexpr std::size_t kMostConfigRepeats = 100;

/// Reads a config.json and flattens it: keys are paths joined by dots, with the index of each
/// element in a list of objects ("block_configs.3.ffn.ffn_mult"). As in Python, the last value of a
/// repeated key counts, and Infinity and NaN are allowed; they are kept as strings.
/// @throws SystemError; FormatError if the file is not a JSON object, or exceeds a limit of this
/// header.
[[nodiscard]] Metadata read_json_config(const std::filesystem::path& path);

}  // namespace tapedeck::internal
