/// @file
/// The header of one GGUF file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/tensor_directory_builder.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/metadata.hpp"

namespace tapedeck::internal {

struct GgufHeader {
  std::uint32_t version = 0;
  Metadata metadata{};
  std::uint64_t tensors = 0;
  std::vector<std::string> warnings{};
};

/// Reads a header from the file's first byte on, and adds its tensors.
/// @throws SystemError, FormatError
[[nodiscard]] GgufHeader read_gguf_header(FileReader& file, TensorDirectoryBuilder& tensors);

}  // namespace tapedeck::internal
