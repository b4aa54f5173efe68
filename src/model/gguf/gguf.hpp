// SPDX-License-Identifier: Apache-2.0
/// @file
/// GGUF files. The format is described in docs/gguf.md of ggml. The same files are rejected as by
/// gguf.cpp of llama.cpp, except that versions 1 and 2 are read as well.
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

/// Reads the model of a GGUF file. If `path` is any part of a split model, all parts are read.
/// @throws SystemError, FormatError
[[nodiscard]] Model read_gguf(const std::filesystem::path& path);

/// The header of one file.
struct GgufHeader {
  std::uint32_t version = 0;
  Metadata metadata{};
  std::vector<std::string> warnings{};
};

/// Reads the header at the beginning of the file, and adds its tensors to `tensors`.
/// @throws SystemError, FormatError
[[nodiscard]] GgufHeader read_gguf_header(FileReader& file, TensorDirectoryBuilder& tensors);

}  // namespace tapedeck::internal
