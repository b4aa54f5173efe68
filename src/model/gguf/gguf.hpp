/// @file
/// GGUF files. Format: docs/gguf.md of ggml; what is refused follows gguf.cpp of llama.cpp, except
/// that versions 1 and 2 are read as well.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/tensor_directory_builder.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::internal {

/// The model of a GGUF file, with all parts of a split one, from any of them.
/// @throws SystemError, FormatError
[[nodiscard]] Model read_gguf(const std::filesystem::path& path);

/// The header of one file.
struct GgufHeader {
  std::uint32_t version = 0;
  Metadata metadata{};
  std::vector<std::string> warnings{};
};

/// Reads a header from the file's first byte on, and adds its tensors.
/// @throws SystemError, FormatError
[[nodiscard]] GgufHeader read_gguf_header(FileReader& file, TensorDirectoryBuilder& tensors);

}  // namespace tapedeck::internal
