// SPDX-License-Identifier: Apache-2.0
/// @file
/// `GgufValues`: reads counts, lengths and types, for the header of a GGUF file and its long
/// arrays.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "model/file_errors.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

// Limits file sizes and elements of a tensor: ggml counts in int64.
inline constexpr std::uint64_t kMostOfGguf = std::numeric_limits<std::int64_t>::max();
inline constexpr std::uint64_t kMostGgufStrings = 1
                                                  << 24;  // the largest vocabularies have a million
inline constexpr std::uint64_t kLongestGgufKey = 65535;   // gguf.md

// In the order of gguf.md, whose numbers start at 0.
enum class GgufType : std::uint32_t {
  // clang-format off
  u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64,
  // clang-format on
};
inline constexpr std::array<std::uint64_t, 13> kGgufTypeBytes = {1, 1, 2, 2, 4, 4, 4,
                                                                 1, 0, 0, 8, 8, 8};

[[nodiscard]] constexpr bool is_integer(GgufType type) noexcept {
  return type <= GgufType::i32 || type == GgufType::u64 || type == GgufType::i64;
}

[[nodiscard]] constexpr bool is_signed(GgufType type) noexcept {
  return type == GgufType::i8 || type == GgufType::i16 || type == GgufType::i32 ||
         type == GgufType::i64;
}

/// Reads counts, lengths and types, and checks each against the rest of the file.
class GgufValues {
 public:
  GgufValues(FileReader& file, std::uint32_t version) : file_(&file), version_(version) {}

  /// Reads a size, which has 32 bits in version 1 and 64 bits otherwise.
  [[nodiscard]] std::uint64_t size(const char* what) {
    return version_ == 1 ? file_->number<std::uint32_t>(what) : file_->number<std::uint64_t>(what);
  }

  /// Reads a count of items that take at least `least_bytes` each.
  [[nodiscard]] std::uint64_t count(const char* what, std::uint64_t least_bytes) {
    const std::uint64_t at = file_->offset();
    const std::uint64_t count = size(what);
    if (count <= file_->left() / least_bytes) return count;
    file_->throw_format_error(
        {at, what, FormatFault::cut_off},
        std::string(what) + " is " + std::to_string(count) + ", but " + rest_of_file());
  }

  [[nodiscard]] std::uint64_t length(const char* what, std::uint64_t most = kMostOfGguf) {
    const std::uint64_t at = file_->offset();
    const std::uint64_t length = size(what);
    if (length <= std::min(most, file_->left())) return length;
    const bool cut = length > file_->left();
    file_->throw_format_error(
        {at, what, cut ? FormatFault::cut_off : FormatFault::out_of_range},
        std::string(what) + " has " + count_of(length, "byte") + ", but " +
            (cut ? rest_of_file() : "at most " + std::to_string(most) + " are allowed"));
  }

  /// Reads the length of an array of strings.
  [[nodiscard]] std::uint64_t strings(const std::string& key) {
    const std::uint64_t at = file_->offset();
    const std::uint64_t strings = count("an array's length", version_ == 1 ? 4 : 8);
    if (strings <= kMostGgufStrings) return strings;
    throw_field_error({file_->path(), at, key, FormatFault::out_of_range},
                      "has " + std::to_string(strings) + " strings, but at most " +
                          std::to_string(kMostGgufStrings) + " are allowed");
  }

  [[nodiscard]] GgufType type(const std::string& key) {
    const std::uint64_t at = file_->offset();
    const auto number = file_->number<std::uint32_t>("a value's type");
    if (number < kGgufTypeBytes.size()) return static_cast<GgufType>(number);
    throw_field_error({file_->path(), at, key, FormatFault::unsupported},
                      "has a value of the unknown type " + std::to_string(number));
  }

  /// Reads a number of an integer type, or a boolean as 0 or 1 (not every writer uses only these
  /// bytes). `nullopt` if the number does not fit.
  [[nodiscard]] std::optional<std::int64_t> integer(GgufType type, const char* what) {
    const std::uint64_t bytes = kGgufTypeBytes[static_cast<std::size_t>(type)];
    std::uint64_t number = 0;
    file_->read(std::as_writable_bytes(std::span(&number, 1)).first(bytes), what);
    if (type == GgufType::boolean) return number != 0 ? 1 : 0;
    if (is_signed(type)) {
      const std::uint64_t unused_bits = 64 - 8 * bytes;
      return static_cast<std::int64_t>(number << unused_bits) >> unused_bits;  // extends the sign
    }
    if (!std::in_range<std::int64_t>(number)) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }

 private:
  [[nodiscard]] std::string rest_of_file() const {
    return "the rest of the file has only " + count_of(file_->left(), "byte");
  }

  FileReader* file_;
  std::uint32_t version_;
};

}  // namespace tapedeck::internal
