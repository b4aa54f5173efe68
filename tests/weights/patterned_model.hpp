// SPDX-License-Identifier: Apache-2.0
/// @file
/// Models of safetensors files whose every byte is known: tensor n contains pattern n.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "memory/pattern.hpp"
#include "model/safetensors_bytes.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/weights/weights.hpp"
#include "tapedeck/weights/weights_builder.hpp"

namespace tapedeck::tests {

// Without this, threads would map different numbers of heaps, and some tests compare mappings.
inline const int one_heap = ::mallopt(M_ARENA_MAX, 1);

/// Describes a file to create.
struct FileToMake {
  std::vector<std::uint64_t> sizes;  ///< The sizes of its tensors in bytes.
  std::string dtype = "U8";          ///< "U8", or "F32" with sizes that are multiples of 4.
  std::size_t first = 0;             ///< The number of its first tensor.
  std::size_t skew = 0;              ///< Where its data begins, modulo 64.
  bool backwards = false;            ///< Whether the header names the last tensor first.
  std::string prefix{};              ///< If not empty, the tensors are named PREFIX0, PREFIX1, ...
};

[[nodiscard]] inline std::string made_name(std::size_t number) {
  return "blk." + std::to_string(number) + ".weight";
}

[[nodiscard]] inline std::size_t made_number(std::string_view name) {
  std::size_t number = 0;
  std::from_chars(name.data() + 4, name.data() + name.size(), number);
  return number;
}

[[nodiscard]] inline std::string name_in(const FileToMake& file, std::size_t i) {
  return file.prefix.empty() ? made_name(file.first + i) : file.prefix + std::to_string(i);
}

[[nodiscard]] inline std::string made_header(const FileToMake& file) {
  std::vector<std::string> entries;
  std::uint64_t at = 0;
  const std::uint64_t element = file.dtype == "F32" ? 4 : 1;
  for (std::size_t i = 0; i < file.sizes.size(); ++i) {
    const std::uint64_t bytes = file.sizes[i];
    entries.push_back(
        tensor_json(name_in(file, i), file.dtype, std::to_string(bytes / element), at, at + bytes));
    at += bytes;
  }
  if (file.backwards) std::reverse(entries.begin(), entries.end());
  std::string header = "{";
  for (const std::string& entry : entries) header += (header.size() > 1 ? "," : "") + entry;
  header += "}";
  while ((header.size() + 8) % 64 != file.skew) header += ' ';
  return safetensors(header);
}

/// Makes a file look old, so that any later change is visible in its time, whatever the clock's
/// resolution.
inline void make_old(const std::filesystem::path& path) {
  std::filesystem::last_write_time(path, std::filesystem::file_time_type() - std::chrono::hours(1));
}

inline std::filesystem::path make_file(const TempFolder& folder, const std::string& name,
                                       const FileToMake& file) {
  std::filesystem::path path = folder / name;
  std::ofstream out(path, std::ios::binary);
  const std::string header = made_header(file);
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  std::vector<char> bytes;
  for (std::size_t i = 0; i < file.sizes.size(); ++i) {
    bytes.resize(file.sizes[i]);
    Pattern(file.first + i).write(bytes.data(), bytes.size());
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  out.close();
  make_old(path);
  return path;
}

/// Writes a model of several files with an index. Returns the path of the index.
inline std::filesystem::path make_files(const TempFolder& folder,
                                        const std::vector<FileToMake>& files) {
  std::string map;
  for (std::size_t part = 0; part < files.size(); ++part) {
    const std::string name = "part-" + std::to_string(part) + ".safetensors";
    make_file(folder, name, files[part]);
    for (std::size_t i = 0; i < files[part].sizes.size(); ++i) {
      map += (map.empty() ? "\"" : ",\"") + name_in(files[part], i) + "\":\"" + name + "\"";
    }
  }
  return folder.write("model.safetensors.index.json", R"({"weight_map":{)" + map + "}}");
}

/// Weights with the same names and bytes that are not in a file.
[[nodiscard]] inline WeightsBuilder build_patterned(const std::vector<std::uint64_t>& sizes,
                                                    const WeightsBuilderOptions& options = {}) {
  std::vector<TensorSpec> specs;
  specs.reserve(sizes.size());
  for (const std::uint64_t bytes : sizes) {
    specs.push_back({.name = made_name(specs.size()), .dtype = DType::u8, .shape = {bytes}});
  }
  WeightsBuilder builder(specs, options);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    Pattern(i).write(builder.bytes(i).data(), sizes[i]);
  }
  return builder;
}

/// Removes a file that is on disk from the page cache, as far as the host allows.
inline void make_cold_again(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  ::close(descriptor);
}

/// Removes a file that was just written from the page cache.
inline void store_and_make_cold(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::fdatasync(descriptor);
  ::close(descriptor);
  make_cold_again(path);
}

/// Creates whatever a process creates only once, for tests that compare what it holds.
inline void make_what_is_made_once(unsigned threads) {
  const TempFolder folder;
  const std::filesystem::path path =
      make_file(folder, "a.safetensors", {.sizes = {9_MiB, 9_MiB, 9_MiB}});
  for (const Way way : {Way::read, Way::direct}) {
    store_and_make_cold(path);
    Weights weights = Weights::open(path, {.way = way});
    static_cast<void>(weights.warm({.threads = threads}));
  }
}

/// Whether a tensor contains what was written to it.
[[nodiscard]] inline ::testing::AssertionResult is_right(const TensorView& tensor) {
  if (Pattern(made_number(tensor.name)).is_at(tensor.bytes.data(), tensor.bytes.size())) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << tensor.name << " has wrong bytes";
}

[[nodiscard]] inline ::testing::AssertionResult all_right(const Weights& weights) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!weights.readable(i)) {
      return ::testing::AssertionFailure() << weights[i].name << " is not readable";
    }
    if (const auto right = is_right(weights[i]); !right) return right;
  }
  return ::testing::AssertionSuccess();
}

/// Whether the tensors that are reported as present contain what was written to them.
[[nodiscard]] inline ::testing::AssertionResult warmed_are_right(const Weights& weights) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!weights.warmed(i)) continue;
    if (const auto right = is_right(weights[i]); !right) return right;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace tapedeck::tests
