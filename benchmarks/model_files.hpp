// SPDX-License-Identifier: Apache-2.0
/// @file
/// Model files that are generated for the benchmarks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace model_files {

namespace fs = std::filesystem;

/// A new folder inside another one. The destructor removes it.
class Folder {
 public:
  explicit Folder(const fs::path& above = fs::temp_directory_path()) {
    std::string name = (above / "tapedeck-bench-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create folder " + name);
    root_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  [[nodiscard]] const fs::path& path() const noexcept { return root_; }

  fs::path write(const std::string& name, std::string_view content) const {
    const fs::path path = root_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream out(path, std::ios::binary);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
    return path;
  }

 private:
  fs::path root_;
};

constexpr std::uint64_t kHidden = 64;

/// Headers as mixtures of experts have them, whose names are long.
inline std::string safetensors_header(std::size_t tensors, std::size_t first = 0) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::uint64_t at = 0;
  for (std::size_t i = first; i < first + tensors; ++i) {
    const std::uint64_t bytes = kHidden * kHidden * 2;
    header += ",\"model.layers." + std::to_string(i / 384) + ".mlp.experts." +
              std::to_string(i / 3 % 128) +
              (i % 3 == 0   ? ".up"
               : i % 3 == 1 ? ".gate"
                            : ".down") +
              R"(_proj.weight":{"dtype":"BF16","shape":[64,64],"data_offsets":[)" +
              std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
    at += bytes;
  }
  return header + "}";
}

/// Accepts every event of the parser, and ignores it.
class Nothing : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*elements*/) override { return true; }
  bool key(string_t& /*name*/) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t /*elements*/) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return false;
  }
};

/// Builds a GGUF header, key by key. The size of each tensor must be a multiple of 32 bytes.
class GgufHeader {
 public:
  template <class T>
  GgufHeader& number(T value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    bytes_.append(raw, sizeof value);
    return *this;
  }
  GgufHeader& text(std::string_view text) {
    number(std::uint64_t{text.size()});
    bytes_.append(text);
    return *this;
  }
  GgufHeader& key(std::string_view name, std::uint32_t value) {
    return text(name).number(std::uint32_t{4}).number(value);
  }
  // Tensors follow each other without gaps. Those of `vector` and `matrix` are in f32.
  GgufHeader& vector(std::string_view name, std::uint64_t elements) {
    text(name).number(std::uint32_t{1}).number(elements).number(std::uint32_t{0}).number(data_);
    data_ += elements * 4;
    return *this;
  }
  GgufHeader& matrix(std::string_view name, std::uint64_t rows, std::uint64_t columns) {
    return matrix(name, rows, columns, 0, 4);
  }
  GgufHeader& half_matrix(std::string_view name, std::uint64_t rows, std::uint64_t columns) {
    return matrix(name, rows, columns, 1, 2);
  }
  GgufHeader& strings(std::string_view name, std::size_t count) {
    text(name).number(std::uint32_t{9}).number(std::uint32_t{8}).number(std::uint64_t{count});
    for (std::size_t i = 0; i < count; ++i) text("token" + std::to_string(i));
    return *this;
  }
  [[nodiscard]] std::string padded() const {
    return bytes_ + std::string((32 - bytes_.size() % 32) % 32, '\0');
  }

  /// The bytes of all tensors so far.
  [[nodiscard]] std::uint64_t data_bytes() const { return data_; }

 private:
  GgufHeader& matrix(std::string_view name, std::uint64_t rows, std::uint64_t columns,
                     std::uint32_t type, std::uint64_t element_bytes) {
    text(name).number(std::uint32_t{2}).number(columns).number(rows).number(type).number(data_);
    data_ += rows * columns * element_bytes;
    return *this;
  }

  std::string bytes_ = "GGUF";
  std::uint64_t data_ = 0;
};

}  // namespace model_files
