// SPDX-License-Identifier: Apache-2.0
/// @file
/// The SentencePiece byte-pair tokenizer of Llama models, from a GGUF file or a llama2.c tokenizer
/// file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::llama {

// Token ids in llama2.c, and in GGUF files that do not state others.
inline constexpr TokenId kBos = 1;  ///< Begins every talk, and ends it if the model chooses it.
inline constexpr TokenId kEos = 2;
inline constexpr TokenId kFirstByte = 3;         ///< The token of byte 0; the other bytes follow.
inline constexpr TokenId kFirstPiece = 3 + 256;  ///< Follows unk, BOS, EOS and the byte tokens.

/// Converts text to tokens and back. Thread-safety: immutable.
class Tokenizer {
 public:
  /// Reads a tokenizer file of llama2.c.
  /// @param vocab  the model's vocabulary size; the file does not state how many tokens it has.
  /// @throws SystemError; InvalidArgument if `path` is not a regular file, or for a vocabulary
  /// without room for the byte tokens; FormatError.
  Tokenizer(const std::filesystem::path& path, std::size_t vocab);
  /// Reads the tokenizer inside a GGUF file (tokenizer.ggml.model "llama").
  /// @param vocab  the model's vocabulary size.
  /// @throws SystemError; FormatError, also if the tokenizer is missing or of another kind.
  Tokenizer(const Model& gguf, std::size_t vocab);
  Tokenizer(Tokenizer&&) = default;  // not copyable: ids_ holds views of the pieces
  Tokenizer& operator=(Tokenizer&&) = default;

  [[nodiscard]] std::size_t size() const noexcept { return pieces_.size(); }

  /// Returns BOS, if the model wants one, and the tokens of a text. The text may contain any bytes:
  /// those that form no piece become byte tokens. A text never produces control tokens.
  /// O(n log n), plus n times the number of user-defined tokens.
  /// @throws InvalidArgument for 2 GiB or more.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text) const;

  /// The text that a token adds after `previous`. If that is BOS or nothing, the space that
  /// `encode` put in front of the text is removed. @pre token < size()
  [[nodiscard]] std::string_view decode(std::optional<TokenId> previous,
                                        TokenId token) const noexcept;

  /// The tokens that end a talk if the model chooses them. They have no text.
  [[nodiscard]] std::span<const TokenId> ends() const noexcept { return ends_; }
  [[nodiscard]] bool is_end(TokenId token) const noexcept;

  /// The piece that is exactly this text; the first one if several are equal.
  [[nodiscard]] std::optional<TokenId> find(std::string_view text) const;
  [[nodiscard]] std::string_view piece(TokenId token) const noexcept { return pieces_[token].text; }
  [[nodiscard]] float score(TokenId token) const noexcept { return pieces_[token].score; }

 private:
  enum class Kind : std::uint8_t { text, byte, control };
  struct Piece {
    std::string text;
    float score;
    Kind kind;
  };
  /// A part of a text: a token, or a character without a token.
  struct Symbol {
    std::string_view text;
    std::optional<TokenId> token{};
    std::uint32_t before = 0;  ///< The neighbors, set by `Merger`.
    std::uint32_t after = 0;
  };
  class Merger;

  /// Adds the next token. @pre `pieces_` has capacity for it
  void append_token(std::string text, float score, Kind kind);
  void read_tokens(const Model& gguf, std::size_t vocab);
  [[nodiscard]] std::int64_t guessed_type(TokenId id, std::string_view text) const;
  void add_token(std::string_view stored, float score, std::int64_t type);
  [[nodiscard]] std::optional<TokenId> user_defined_at(std::string_view text) const noexcept;
  void encode_plain(std::string_view text, std::vector<TokenId>& ids) const;
  void add_symbols(std::string_view character, std::vector<Symbol>& symbols) const;
  [[nodiscard]] TokenId byte_token(char byte) const noexcept {
    return bytes_[static_cast<unsigned char>(byte)].value_or(unknown_);
  }

  std::vector<Piece> pieces_;
  std::unordered_map<std::string_view, TokenId> ids_;
  std::array<std::optional<TokenId>, 256> bytes_{};
  std::vector<TokenId> user_defined_;  // matched in a text before merging; the longest first
  std::optional<TokenId> bos_ = kBos;
  TokenId unknown_ = 0;
  std::vector<TokenId> ends_ = {kBos};
  bool adds_bos_ = true;
  bool space_before_text_ = true;  // the model was trained on words with a space in front
  // Follows llama.cpp: U+2581 is a space, and text that is not a piece becomes bytes only after
  // merging.
  bool of_gguf_ = false;
};

}  // namespace tapedeck::llama
