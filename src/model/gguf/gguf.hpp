/// @file
/// GGUF files. Format: docs/gguf.md of ggml; what is refused follows gguf.cpp of llama.cpp, except
/// that versions 1 and 2 are read as well.
#pragma once

#include <filesystem>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::internal {

/// The model of a GGUF file, with all parts of a split one, from any of them.
/// @throws SystemError, FormatError
[[nodiscard]] Model read_gguf(const std::filesystem::path& path);

}  // namespace tapedeck::internal
