/// @file
/// safetensors files. Format: the README of huggingface/safetensors; what is refused follows its
/// tensor.rs, and besides: names that are there twice, and files that lost a part of their data.
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

/// No header is longer (MAX_HEADER_SIZE of tensor.rs).
inline constexpr std::uint64_t kMostSafetensorsHeader = 100'000'000;

/// Reads a header from the file's first byte on, and adds its tensors. What its __metadata__ says
/// goes to `metadata` as "__metadata__.KEY", unless such a key is there.
/// @throws SystemError, FormatError
void read_safetensors_header(FileReader& file, TensorDirectoryBuilder& tensors, Metadata& metadata);

/// What a model.safetensors.index.json says.
struct SafetensorsIndex {
  struct Place {
    std::string name;
    const std::string* file;  ///< One of `files`.
    std::uint64_t offset;     ///< In the index.
  };
  std::set<std::string> files;
  std::vector<Place> places;
};

/// Nothing where a JSON file is no such index, or is broken before it says that it is one.
/// @throws SystemError, FormatError
[[nodiscard]] std::optional<SafetensorsIndex> read_safetensors_index(
    const std::filesystem::path& path);

/// The tensors of the files that an index names, which lie beside it.
/// @throws SystemError; FormatError also where the index and the files do not agree.
[[nodiscard]] TensorDirectory read_safetensors_shards(const std::filesystem::path& path,
                                                      const SafetensorsIndex& index,
                                                      Metadata& metadata);

}  // namespace tapedeck::internal
