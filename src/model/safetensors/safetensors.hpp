/// @file
/// safetensors files. Format: the README of huggingface/safetensors; what is refused follows its
/// tensor.rs, and besides: names that are there twice, and files that lost a part of their data.
#pragma once

#include <filesystem>

#include "model/tensor_directory_builder.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/metadata.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// No header is longer (MAX_HEADER_SIZE of tensor.rs).
inline constexpr std::uint64_t kMostSafetensorsHeader = 100'000'000;

/// Reads a header from the file's first byte on, and adds its tensors. What its __metadata__ says
/// goes to `metadata` as "__metadata__.KEY", unless such a key is there.
/// @throws SystemError, FormatError
void read_safetensors_header(FileReader& file, TensorDirectoryBuilder& tensors, Metadata& metadata);

/// The tensors of the files that a model.safetensors.index.json names, which lie beside it.
/// @throws SystemError; FormatError also where the index and the files do not agree.
[[nodiscard]] TensorDirectory read_safetensors_index(const std::filesystem::path& path,
                                                     Metadata& metadata);

/// Whether a JSON file is such an index.
/// @throws SystemError, FormatError
[[nodiscard]] bool is_safetensors_index(const std::filesystem::path& path);

}  // namespace tapedeck::internal
