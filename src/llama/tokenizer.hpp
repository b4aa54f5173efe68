/// @file
/// The byte-pair tokenizer of Llama models: SentencePiece's, out of a GGUF file or of llama2.c's
/// own.
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

// Of llama2.c; and of GGUF files that do not say otherwise.
inline constexpr TokenId kBos = 1;  ///< Begins every talk, and ends it where a model chooses it.
inline constexpr TokenId kEos = 2;
inline constexpr TokenId kFirstByte = 3;         ///< Token of byte 0; the others follow.
inline constexpr TokenId kFirstPiece = 3 + 256;  ///< The smallest vocabulary: unk, BOS, EOS, bytes.

/// Thread-safety: immutable.
class Tokenizer {
 public:
  /// Reads a tokenizer file of llama2.c.
  /// @param vocab  of the model; the file does not say how many tokens it has.
  /// @throws SystemError; InvalidArgument if it is no regular file, or for a vocabulary without
  /// room for the byte tokens; FormatError.
  Tokenizer(const std::filesystem::path& path, std::size_t vocab);
  /// Reads the tokenizer that a GGUF file has in it (tokenizer.ggml.model "llama").
  /// @param vocab  of the model.
  /// @throws SystemError; FormatError, also for a tokenizer of another kind, or none.
  Tokenizer(const Model& gguf, std::size_t vocab);
  Tokenizer(Tokenizer&&) = default;  // and not copied: ids_ has views of the pieces
  Tokenizer& operator=(Tokenizer&&) = default;

  [[nodiscard]] std::size_t size() const noexcept { return pieces_.size(); }

  /// BOS, where the model wants one, and the tokens of a text. Any bytes will do: what is no piece
  /// becomes byte tokens. Control tokens do not come out of texts.
  /// O(n log n), and n times the user-defined tokens. @throws InvalidArgument beyond 2 GiB.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text) const;

  /// The text a token adds after `previous`; after BOS or nothing, without the space that `encode`
  /// put there. @pre token < size()
  [[nodiscard]] std::string_view decode(std::optional<TokenId> previous,
                                        TokenId token) const noexcept;

  /// Tokens that end a talk where a model chooses them; they have no text.
  [[nodiscard]] std::span<const TokenId> ends() const noexcept { return ends_; }
  [[nodiscard]] bool is_end(TokenId token) const noexcept;

  /// The piece that is exactly this text: of equal ones the first.
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
  /// A part of a text: a token, or a character that has none.
  struct Symbol {
    std::string_view text;
    std::optional<TokenId> token{};
    std::uint32_t before = 0;  ///< The symbols beside it, once `Merger` has them.
    std::uint32_t after = 0;
  };
  class Merger;

  /// Adds the next token. @pre there is room for it
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
  std::vector<TokenId> user_defined_;  // taken whole out of a text; the longest first
  std::optional<TokenId> bos_ = kBos;
  TokenId unknown_ = 0;
  std::vector<TokenId> ends_ = {kBos};
  bool adds_bos_ = true;
  bool space_before_text_ = true;  // the model learnt words with a space in front
  // As llama.cpp does it: U+2581 is a space, and what is no piece becomes bytes after merging only.
  bool of_gguf_ = false;
};

}  // namespace tapedeck::llama
