/// @file
/// Which model a folder holds.
#pragma once

#include <filesystem>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The file to begin with: an index, a safetensors or GGUF file, or, where there are no weights, a
/// config.json.
/// @throws SystemError; InvalidArgument where there is no model, or more than one.
[[nodiscard]] std::filesystem::path main_file_of(const std::filesystem::path& folder);

}  // namespace tapedeck::internal
