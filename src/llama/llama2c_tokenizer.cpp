// Tokenizer files of llama2.c: the length of the longest token, then score, length and text of
// each.
#include <cmath>
#include <cstring>

#include "llama/piece_text.hpp"
#include "llama/tokenizer.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

constexpr std::size_t kLeastTokenBytes = 9;

// Nothing is allocated for tokens that the file has no room for, and a model given by mistake is
// not read as a whole.
std::int32_t read_longest(internal::FileReader& file, std::size_t vocab) {
  if (vocab < kFirstPiece) {
    file.refuse(0, "the model's vocabulary of " + std::to_string(vocab) +
                       " has no room for the byte tokens");
  }
  const auto longest = file.number<std::int32_t>("the header");
  if (longest <= 0) {
    file.refuse(0, "the longest token has " + std::to_string(longest) + " bytes",
                "is it a tokenizer of llama2.c?");
  }
  const auto most = checked_mul<std::size_t>(vocab, static_cast<std::size_t>(longest) + 8);
  if (most && file.left() > *most) {
    file.refuse(file.offset() + *most,
                "more bytes than " + std::to_string(vocab) + " tokens can have",
                "is it the tokenizer of this model?");
  }
  if (file.left() / kLeastTokenBytes < vocab) {
    file.refuse(file.size(), "too short for " + std::to_string(vocab) + " tokens",
                "is it the tokenizer of this model?");
  }
  return longest;
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& path, std::size_t vocab) {
  internal::FileReader file(path);
  const std::int32_t longest = read_longest(file, vocab);
  const auto throw_format_error = [&](std::uint64_t offset, const std::string& text) {
    file.refuse(offset, text,
                "is it the tokenizer of this model, with " + std::to_string(vocab) + " tokens?");
  };
  texts_.resize(static_cast<std::size_t>(file.left()));
  std::size_t used = 0;
  vocabulary_.reserve(vocab);
  for (TokenId id = 0; id < vocab; ++id) {
    const std::string token = "token " + std::to_string(id);
    const std::uint64_t at = file.offset();
    if (file.left() < 8) throw_format_error(file.size(), "the file ends before " + token);
    const auto score = file.number<float>("a score");
    const auto length = file.number<std::int32_t>("a length");
    if (std::isnan(score)) throw_format_error(at, token + " has no score (NaN)");
    if (length <= 0 || length > longest) {
      throw_format_error(at + 4, token + " has " + std::to_string(length) +
                                     " bytes, and the longest " + std::to_string(longest));
    }
    const auto bytes = static_cast<std::size_t>(length);
    if (file.left() < bytes) throw_format_error(file.size(), "the file ends inside " + token);
    const std::span<char> text = std::span(texts_).subspan(used, bytes);
    file.read(std::as_writable_bytes(text), "a token");
    used += bytes;
    const std::string_view piece(text.data(), text.size());
    append_token(piece, score, raw_byte(piece) < 0 ? Kind::text : Kind::byte, true);
  }
  if (file.left() != 0) throw_format_error(file.offset(), "bytes after the last token");
  // By their place, whatever they are called.
  for (TokenId byte = 0; byte < bytes_.size(); ++byte) bytes_[byte] = kFirstByte + byte;
}

}  // namespace tapedeck::llama
