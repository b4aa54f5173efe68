// SPDX-License-Identifier: Apache-2.0
/// @file
/// GGUF files written by hand, valid or not, by code that follows the format's specification
/// independently.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tapedeck::tests {

namespace gguf_type {
inline constexpr std::uint32_t u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6,
                               boolean = 7, string = 8, array = 9, u64 = 10, i64 = 11, f64 = 12;
}  // namespace gguf_type

inline constexpr std::uint32_t kF32 = 0;  ///< The type of a tensor.

/// A buffer to which numbers and strings are appended.
class GgufBytes {
 public:
  explicit GgufBytes(std::uint32_t version = 3) : version_(version) {}

  template <class T>
  GgufBytes& number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    bytes_.append(raw, sizeof value);
    return *this;
  }
  /// A count or a length, which has 32 bits in version 1.
  GgufBytes& size(std::uint64_t value) {
    return version_ == 1 ? number(static_cast<std::uint32_t>(value)) : number(value);
  }
  GgufBytes& string(std::string_view text) {
    size(text.size());
    bytes_.append(text);
    return *this;
  }
  GgufBytes& header(std::uint64_t tensors, std::uint64_t keys) {
    bytes_.append("GGUF");
    return number(version_).size(tensors).size(keys);
  }
  template <class T>
  GgufBytes& key(std::string_view name, std::uint32_t type, T value) {
    return string(name).number(type).number(value);
  }
  GgufBytes& key(std::string_view name, std::string_view value) {
    return string(name).number(gguf_type::string).string(value);
  }
  template <class T>
  GgufBytes& array(std::string_view name, std::uint32_t type, const std::vector<T>& values) {
    string(name).number(gguf_type::array).number(type).size(values.size());
    for (const T value : values) number(value);
    return *this;
  }
  GgufBytes& strings(std::string_view name, const std::vector<std::string>& values) {
    string(name).number(gguf_type::array).number(gguf_type::string).size(values.size());
    for (const std::string& value : values) string(value);
    return *this;
  }
  /// Dimensions in GGUF's order: the contiguous one first.
  GgufBytes& tensor(std::string_view name, const std::vector<std::uint64_t>& dimensions,
                    std::uint32_t type, std::uint64_t offset) {
    string(name).number(static_cast<std::uint32_t>(dimensions.size()));
    for (const std::uint64_t dimension : dimensions) size(dimension);
    return number(type).number(offset);
  }
  GgufBytes& pad(std::size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  GgufBytes& zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t at() const { return bytes_.size(); }

 private:
  std::uint32_t version_;
  std::string bytes_;
};

}  // namespace tapedeck::tests
