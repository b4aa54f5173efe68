// SPDX-License-Identifier: Apache-2.0
/// @file
/// `read_gguf_strings` and its siblings: read long arrays of a GGUF file, which `Metadata` omits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::internal {
class GgufArrayReader;
}

namespace tapedeck::inline TAPEDECK_ABI {

/// Strings, stored back to back in one buffer. Thread-safety: immutable after it has been read.
class GgufStrings {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
  /// @pre index < size()
  [[nodiscard]] std::string_view operator[](std::size_t index) const noexcept {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return {bytes_.data() + begin, ends_[index] - begin};
  }
  /// Total number of bytes of all strings.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.size(); }

 private:
  friend class internal::GgufArrayReader;
  std::vector<char> bytes_;
  std::vector<std::size_t> ends_;
};

/// Reads the array of strings under `key` (a vocabulary, its merges) from the file of a model that
/// `read_model` has read. The file is opened again and read from the start of the array; memory is
/// allocated only for bytes that the file really has.
/// @throws InvalidArgument if the model is not a GGUF file; FormatError if the file has no such
/// array, or has changed since the model was read; SystemError.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");
/// const GgufStrings tokens = read_gguf_strings(model, "tokenizer.ggml.tokens");
/// const std::vector<float> scores = read_gguf_floats(model, "tokenizer.ggml.scores");
/// if (tokens.size() != 0) std::cout << tokens[0] << ' ' << scores.at(0) << '\n';
/// @endcode
[[nodiscard]] GgufStrings read_gguf_strings(const Model& model, std::string_view key);

/// Reads the array of f32 under `key`. @throws as `read_gguf_strings`.
[[nodiscard]] std::vector<float> read_gguf_floats(const Model& model, std::string_view key);

/// Reads the array under `key`, which may be of any integer type.
/// @throws as `read_gguf_strings`, and FormatError for a number that does not fit in an int64.
[[nodiscard]] std::vector<std::int64_t> read_gguf_integers(const Model& model,
                                                           std::string_view key);

}  // namespace tapedeck::inline TAPEDECK_ABI
