// SPDX-License-Identifier: Apache-2.0
/// @file
/// safetensors files. The format is described in the README of huggingface/safetensors. The same
/// files are rejected as by its tensor.rs, and also files with duplicate names or with incomplete
/// data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/tensor_directory_builder.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/metadata.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// The maximum length of a header (MAX_HEADER_SIZE of tensor.rs).
inline constexpr std::uint64_t kMostSafetensorsHeader = 100'000'000;

/// Reads the header at the beginning of the file, and adds its tensors to `tensors`. Entries of its
/// __metadata__ are added to `metadata` as "__metadata__.KEY", unless the key exists already.
/// @throws SystemError, FormatError
void read_safetensors_header(FileReader& file, TensorDirectoryBuilder& tensors, Metadata& metadata);

/// The content of a model.safetensors.index.json.
struct SafetensorsIndex {
  struct Place {
    std::string name;
    const std::string* file;  ///< Points to an element of `files`.
    std::uint64_t offset;     ///< Byte offset in the index, for error messages.
  };
  std::set<std::string> files;
  std::vector<Place> places;
};

/// Reads an index. `nullopt` if a JSON file is not an index, or is broken before its weight_map.
/// @throws SystemError, FormatError
[[nodiscard]] std::optional<SafetensorsIndex> read_safetensors_index(
    const std::filesystem::path& path);

/// Reads the tensors of the files that an index names. The files must be in its folder.
/// @throws SystemError; FormatError, also if the index and the files contradict each other.
[[nodiscard]] TensorDirectory read_safetensors_shards(const std::filesystem::path& path,
                                                      const SafetensorsIndex& index,
                                                      Metadata& metadata);

}  // namespace tapedeck::internal
