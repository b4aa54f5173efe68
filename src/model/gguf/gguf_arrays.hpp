/// @file
/// The long arrays of a GGUF header, which `Metadata` leaves out: a tokenizer's tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::internal {

/// Strings, one behind the other.
class StringArray {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
  /// @pre index < size()
  [[nodiscard]] std::string_view operator[](std::size_t index) const noexcept {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return {bytes_.data() + begin, ends_[index] - begin};
  }
  /// Of all strings together.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.size(); }

 private:
  friend class GgufArrayReader;
  std::vector<char> bytes_;
  std::vector<std::size_t> ends_;
};

// An array of a model that `read_gguf` gave, by its key; read from the file again. Nothing is
// allocated that the file has no bytes for.
// All throw SystemError, and FormatError where there is no such array, or one of other things.

[[nodiscard]] StringArray read_string_array(const Model& gguf, std::string_view key);
/// Of f32.
[[nodiscard]] std::vector<float> read_real_array(const Model& gguf, std::string_view key);
/// Of any whole type of at most 32 bits.
[[nodiscard]] std::vector<std::int32_t> read_whole_array(const Model& gguf, std::string_view key);

}  // namespace tapedeck::internal
