// SPDX-License-Identifier: Apache-2.0
/// @file
/// Models of several files with known bytes, for tests of weights.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/temp_folder.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {

inline constexpr Way kWays[] = {Way::map, Way::read, Way::direct, Way::automatic};

[[nodiscard]] inline std::string name_of_way(const testing::TestParamInfo<Way>& info) {
  return to_string(info.param);
}

/// Returns the contents of a file, read independently of the library.
[[nodiscard]] inline std::string file_bytes_of(const std::filesystem::path& path) {
  std::ostringstream bytes;  // reading byte by byte takes seconds under a sanitizer
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(bytes).str();
}

/// Whether every tensor has the bytes that are in its file at its place.
[[nodiscard]] inline testing::AssertionResult holds_its_files(const Weights& weights) {
  const TensorDirectory& directory = weights.tensors();
  std::vector<std::string> files;
  for (const TensorFile& file : directory.files()) files.push_back(file_bytes_of(file.path));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const TensorEntry& entry = directory.entries()[i];
    const std::string_view expected(files[entry.file].data() + entry.offset, entry.bytes);
    const std::span<const std::byte> bytes = weights[i].bytes;
    if (std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) != expected) {
      return testing::AssertionFailure() << entry.name << " has other bytes than its file";
    }
  }
  return testing::AssertionSuccess();
}

/// A model of three safetensors files with an index. It is larger than some chunks, and has odd
/// sizes.
class ThreeFiles {
 public:
  ThreeFiles() {
    make_files(folder_, {{.sizes = {9'000'001, 3, 4096}, .prefix = "layers.0."},
                         {.sizes = {20'000'000, 1, 0, 77}, .first = 10, .prefix = "layers.1."},
                         {.sizes = {12'345}, .first = 20, .prefix = "layers.2."}});
  }

  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

}  // namespace tapedeck::tests
