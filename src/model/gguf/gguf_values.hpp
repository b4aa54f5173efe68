/// @file
/// How GGUF files store counts, lengths and types: what the readers of a header and of its long
/// arrays share.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "base/printable.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

// No file is longer, and no tensor has more elements: ggml counts in int64.
inline constexpr std::uint64_t kMostOfGguf = std::numeric_limits<std::int64_t>::max();
inline constexpr std::uint64_t kMostGgufStrings = 1 << 24;  // the largest vocabularies: a million
inline constexpr std::uint64_t kLongestGgufKey = 65535;     // gguf.md

// Numbered from 0, as gguf.md numbers them.
enum class GgufType : std::uint32_t {
  // clang-format off
  u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64,
  // clang-format on
};
inline constexpr std::array<std::uint64_t, 13> kGgufTypeBytes = {1, 1, 2, 2, 4, 4, 4,
                                                                 1, 0, 0, 8, 8, 8};

/// Reads them, each checked against what is left of the file.
class GgufValues {
 public:
  GgufValues(FileReader& file, std::uint32_t version) : file_(&file), version_(version) {}

  /// Of 32 bits in version 1.
  [[nodiscard]] std::uint64_t size(const char* what) {
    return version_ == 1 ? file_->number<std::uint32_t>(what) : file_->number<std::uint64_t>(what);
  }

  /// A count of things that take at least so many bytes each.
  [[nodiscard]] std::uint64_t count(const char* what, std::uint64_t least_bytes) {
    const std::uint64_t at = file_->offset();
    const std::uint64_t count = size(what);
    if (count <= file_->left() / least_bytes) return count;
    file_->refuse(at, std::string(what) + " is " + std::to_string(count) + ", and " +
                          std::to_string(file_->left()) + " bytes follow");
  }

  [[nodiscard]] std::uint64_t length(const char* what, std::uint64_t most = kMostOfGguf) {
    const std::uint64_t at = file_->offset();
    const std::uint64_t length = size(what);
    if (length <= std::min(most, file_->left())) return length;
    const std::string found = std::string(what) + " has " + std::to_string(length) + " bytes";
    if (length > file_->left()) {
      file_->refuse(at, found + ", and " + std::to_string(file_->left()) + " follow");
    }
    file_->refuse(at, found + "; at most " + std::to_string(most) + " are allowed");
  }

  /// How many strings an array has.
  [[nodiscard]] std::uint64_t strings(const std::string& key) {
    const std::uint64_t at = file_->offset();
    const std::uint64_t strings = count("an array's length", version_ == 1 ? 4 : 8);
    if (strings <= kMostGgufStrings) return strings;
    file_->refuse(at, printable(key) + " has " + std::to_string(strings) + " strings; at most " +
                          std::to_string(kMostGgufStrings) + " are allowed");
  }

  [[nodiscard]] GgufType type(const std::string& key) {
    const std::uint64_t at = file_->offset();
    const auto number = file_->number<std::uint32_t>("a value's type");
    if (number < kGgufTypeBytes.size()) return static_cast<GgufType>(number);
    file_->refuse(at,
                  printable(key) + " has a value of the unknown type " + std::to_string(number));
  }

 private:
  FileReader* file_;
  std::uint32_t version_;
};

}  // namespace tapedeck::internal
