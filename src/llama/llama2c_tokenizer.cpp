// SPDX-License-Identifier: Apache-2.0
// Tokenizer files of llama2.c: the length of the longest token, then the score, length and text of
// each token.
#include <cmath>
#include <cstring>

#include "llama/piece_text.hpp"
#include "llama/tokenizer.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::llama {
namespace {

constexpr std::size_t kLeastTokenBytes = 9;

/// Reads a file from its start to its end, and never beyond the end.
class TokenFile {
 public:
  explicit TokenFile(const std::filesystem::path& path)
      : path_(path.string()), block_(Block::map_file(path)) {}

  [[nodiscard]] std::uint64_t offset() const noexcept { return at_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return block_.size(); }
  [[nodiscard]] std::uint64_t left() const noexcept { return size() - at_; }

  /// @param field  the part of the file that the bytes belong to: "token 7".
  std::string_view read_text(std::size_t bytes, const std::string& field) {
    if (left() < bytes) {
      throw_format_error(size(), field, FormatFault::cut_off, "the file ends before " + field);
    }
    const std::string_view text(reinterpret_cast<const char*>(block_.data()) + at_, bytes);
    at_ += bytes;
    return text;
  }
  template <class T>
  T read_number(const std::string& field) {
    T value{};
    std::memcpy(&value, read_text(sizeof value, field).data(), sizeof value);
    return value;
  }

  [[noreturn]] void throw_format_error(std::uint64_t offset, const std::string& field,
                                       FormatFault fault, const std::string& message) const {
    throw FormatError({.path = path_, .offset = offset, .field = field, .fault = fault}, message,
                      "is it the tokenizer of this model?");
  }

 private:
  std::string path_;
  Block block_;
  std::size_t at_ = 0;
};

// Checks the size of the file before any token is allocated, in case it is damaged or is a model
// that was given by mistake.
std::int32_t read_longest(TokenFile& file, std::size_t vocab) {
  if (vocab < kFirstPiece) {
    throw InvalidArgument(
        {.argument = "vocab", .value = vocab, .limit = kFirstPiece},
        "the model's vocabulary of " + std::to_string(vocab) + " has no room for the byte tokens");
  }
  const std::string header = "the longest token";
  const auto longest = file.read_number<std::int32_t>(header);
  if (longest <= 0) {
    file.throw_format_error(0, header, FormatFault::out_of_range,
                            header + " cannot have " + std::to_string(longest) + " bytes");
  }
  const auto most = checked_mul<std::size_t>(vocab, static_cast<std::size_t>(longest) + 8);
  if (file.left() / kLeastTokenBytes < vocab || (most && file.left() > *most)) {
    file.throw_format_error(0, header, FormatFault::contradictory,
                            "the file's size of " + std::to_string(file.size()) +
                                " bytes cannot hold exactly " + std::to_string(vocab) +
                                " tokens with a length of at most " + std::to_string(longest));
  }
  return longest;
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& path, std::size_t vocab) {
  TokenFile file(path);
  const std::int32_t longest = read_longest(file, vocab);
  pieces_.reserve(vocab);  // so that views of them stay valid
  ids_.reserve(vocab);
  for (TokenId id = 0; id < vocab; ++id) {
    const std::string token = "token " + std::to_string(id);
    const std::uint64_t at = file.offset();
    const auto score = file.read_number<float>(token);
    const auto length = file.read_number<std::int32_t>(token);
    if (std::isnan(score)) {
      file.throw_format_error(at, token, FormatFault::out_of_range,
                              "the score of " + token + " is NaN");
    }
    if (length <= 0 || length > longest) {
      file.throw_format_error(at + 4, token, FormatFault::out_of_range,
                              token + " has " + std::to_string(length) +
                                  " bytes, but the longest token has " + std::to_string(longest));
    }
    const std::string_view piece = file.read_text(static_cast<std::size_t>(length), token);
    append_token(std::string(piece), score, raw_byte(piece) < 0 ? Kind::text : Kind::byte);
  }
  if (file.left() != 0) {
    file.throw_format_error(file.offset(), {}, FormatFault::contradictory,
                            "the file continues after the last token, to byte " +
                                std::to_string(file.offset() + file.left()));
  }
  // Byte tokens are found by their ids, not by their names.
  for (TokenId byte = 0; byte < bytes_.size(); ++byte) bytes_[byte] = kFirstByte + byte;
}

}  // namespace tapedeck::llama
