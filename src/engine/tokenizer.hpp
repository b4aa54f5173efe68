/// @file
/// The byte-pair tokenizer of llama2.c.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

inline constexpr TokenId kBos = 1;  ///< Begins every talk, and ends it where a model chooses it.
inline constexpr TokenId kFirstByte = 3;         ///< Token of byte 0; the others follow.
inline constexpr TokenId kFirstPiece = 3 + 256;  ///< The smallest vocabulary: unk, BOS, EOS, bytes.

/// Thread-safety: immutable.
class Tokenizer {
 public:
  /// @param vocab  of the model; the file does not say how many tokens it has.
  /// @throws SystemError; InvalidArgument if it is no regular file; FormatError.
  Tokenizer(const std::filesystem::path& path, std::size_t vocab);
  Tokenizer(Tokenizer&&) = default;
  Tokenizer& operator=(Tokenizer&&) = default;
  Tokenizer(const Tokenizer&) = delete;  // the pieces are views into bytes_
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer() = default;

  [[nodiscard]] std::size_t size() const noexcept { return pieces_.size(); }

  /// BOS and the tokens of a text. Any bytes will do: what is no piece becomes byte tokens.
  /// O(n log n). @throws InvalidArgument beyond 2 GiB.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text) const;

  /// The text a token adds after `previous`; after BOS, without its leading space.
  /// @pre token < size()
  [[nodiscard]] std::string_view decode(TokenId previous, TokenId token) const noexcept;

  /// The piece that is exactly this text.
  [[nodiscard]] std::optional<TokenId> find(std::string_view text) const;
  [[nodiscard]] std::string_view piece(TokenId token) const noexcept { return pieces_[token].text; }
  [[nodiscard]] float score(TokenId token) const noexcept { return pieces_[token].score; }

 private:
  struct Piece {
    std::string_view text;
    float score;
  };

  void parse(const std::string& path, std::size_t vocab);

  std::vector<char> bytes_;  // the file
  std::vector<Piece> pieces_;
  std::unordered_map<std::string_view, TokenId> ids_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
