/// @file
/// Models of several files with known bytes, for the tests of weights.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "model/gguf_bytes.hpp"
#include "model/safetensors_bytes.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::tests {

inline constexpr Way kWays[] = {Way::map, Way::read, Way::direct, Way::automatic};

[[nodiscard]] inline std::string name_of_way(const testing::TestParamInfo<Way>& info) {
  return to_string(info.param);
}

/// Bytes that no two places of a file share by chance: pages of noise, each with its number.
[[nodiscard]] inline std::string random_bytes(std::size_t count, std::uint64_t seed) {
  constexpr std::size_t kFilePage = 4096;
  constexpr std::size_t kWords = 32 * kFilePage / sizeof(std::uint64_t);
  // Not on the heap: some tests compare what is mapped.
  static const std::array<std::uint64_t, kWords> noise = [] {
    std::mt19937_64 random(1);
    std::array<std::uint64_t, kWords> words{};
    for (std::uint64_t& word : words) word = random();
    return words;
  }();
  std::string bytes;
  bytes.reserve(count + kFilePage);
  for (std::uint64_t page = 0; bytes.size() < count; ++page) {
    const std::uint64_t number = page * 1000 + seed;
    bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
    const std::size_t from = number * 97 % (kWords - kFilePage / sizeof number);
    bytes.append(reinterpret_cast<const char*>(noise.data() + from), kFilePage - sizeof number);
  }
  bytes.resize(count);
  return bytes;
}

/// A safetensors file of u8 tensors called PREFIX0, PREFIX1, ... of these sizes. `shift` bytes of
/// white space are put behind its header, which a multiple of 8 leaves aligned.
inline std::filesystem::path write_tensors(const TempFolder& folder, const std::string& file,
                                           const std::string& prefix,
                                           const std::vector<std::size_t>& sizes,
                                           std::uint64_t seed = 1) {
  std::string header = "{";
  std::size_t at = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (i != 0) header += ",";
    header += "\"" + prefix + std::to_string(i) + R"(":{"dtype":"U8","shape":[)" +
              std::to_string(sizes[i]) + R"(],"data_offsets":[)" + std::to_string(at) + "," +
              std::to_string(at + sizes[i]) + "]}";
    at += sizes[i];
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return folder.write(file, bytes + header + random_bytes(at, seed));
}

/// What a file holds, read independently of the library.
[[nodiscard]] inline std::string file_bytes_of(const std::filesystem::path& path) {
  std::ostringstream bytes;  // byte by byte costs seconds under a sanitizer
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(bytes).str();
}

[[nodiscard]] inline std::string bytes_of_view(const TensorView& view) {
  return {reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()};
}

/// Whether every tensor has the bytes that its file has at its place.
[[nodiscard]] inline testing::AssertionResult holds_its_files(const Weights& weights) {
  const TensorDirectory& directory = weights.tensors();
  std::vector<std::string> files;
  for (const TensorFile& file : directory.files()) files.push_back(file_bytes_of(file.path));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const TensorEntry& entry = directory.entries()[i];
    if (bytes_of_view(weights[i]) != files[entry.file].substr(entry.offset, entry.bytes)) {
      return testing::AssertionFailure() << entry.name << " has other bytes than its file";
    }
  }
  return testing::AssertionSuccess();
}

/// A model of three safetensors files with an index, larger than some chunks, and odd sizes.
class ThreeFiles {
 public:
  ThreeFiles() {
    const std::vector<std::vector<std::size_t>> sizes = {
        {9'000'001, 3, 4096}, {20'000'000, 1, 0, 77}, {12'345}};
    std::string map;
    for (std::size_t file = 0; file < sizes.size(); ++file) {
      const std::string name = "part" + std::to_string(file) + ".safetensors";
      const std::string prefix = "layers." + std::to_string(file) + ".";
      write_tensors(folder_, name, prefix, sizes[file], file + 1);
      for (std::size_t i = 0; i < sizes[file].size(); ++i) {
        if (!map.empty()) map += ",";
        map.append("\"").append(prefix).append(std::to_string(i));
        map.append("\":\"").append(name).append("\"");
      }
    }
    folder_.write("model.safetensors.index.json", R"({"weight_map":{)" + map + "}}");
  }

  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

}  // namespace tapedeck::tests
