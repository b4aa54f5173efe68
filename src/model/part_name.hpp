// SPDX-License-Identifier: Apache-2.0
/// @file
/// The names of the files that a model was split into.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <regex>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// What a file's name says that it is a part of.
struct PartName {
  std::uint64_t number = 0;  ///< From 1.
  std::uint64_t count = 0;
};

/// The part that a file such as "model-00002-of-00003.gguf" is named as. Nothing for other names,
/// and for those of the only part.
[[nodiscard]] inline std::optional<PartName> part_name(const std::filesystem::path& path) {
  static const std::regex ending("-([0-9]{5})-of-([0-9]{5})$");
  const std::string stem = path.stem().string();
  std::smatch found;
  if (!std::regex_search(stem, found, ending)) return std::nullopt;
  const PartName part = {.number = std::stoull(found[1]), .count = std::stoull(found[2])};
  return part.count == 1 ? std::nullopt : std::optional(part);
}

}  // namespace tapedeck::internal
