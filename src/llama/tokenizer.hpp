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
#include <vector>

#include "llama/shape.hpp"
#include "llama/vocabulary.hpp"
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
  Tokenizer(Tokenizer&&) = default;
  Tokenizer& operator=(Tokenizer&&) = default;
  Tokenizer(const Tokenizer&) = delete;  // the pieces are views into texts_
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer() = default;

  [[nodiscard]] std::size_t size() const noexcept { return vocabulary_.size(); }

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

  /// The piece that is exactly this text.
  [[nodiscard]] std::optional<TokenId> find(std::string_view text) const {
    return vocabulary_.find(text);
  }
  [[nodiscard]] std::string_view piece(TokenId token) const noexcept {
    return vocabulary_.text(token);
  }
  [[nodiscard]] float score(TokenId token) const noexcept { return vocabulary_.score(token); }

 private:
  enum class Kind : std::uint8_t { text, byte, control };

  void read_tokens(const Model& gguf, std::size_t vocab);
  [[nodiscard]] std::int64_t guessed_type(TokenId id, std::string_view text) const;
  void add_token(std::string_view stored, float score, std::int64_t type);
  /// @pre there is room in texts_
  [[nodiscard]] std::string_view keep_text(std::string_view text);
  void append_token(std::string_view text, float score, Kind kind, bool found);
  [[nodiscard]] std::optional<TokenId> user_defined_at(std::string_view text) const noexcept;
  void encode_plain(std::string_view text, std::vector<TokenId>& ids) const;
  void add_symbols(std::string_view character, std::vector<Symbol>& symbols) const;
  [[nodiscard]] TokenId byte_token(char byte) const noexcept {
    return bytes_[static_cast<unsigned char>(byte)].value_or(unknown_);
  }

  std::vector<char> texts_;
  Vocabulary vocabulary_;
  std::vector<Kind> kinds_;
  std::array<std::optional<TokenId>, 256> bytes_{};
  std::vector<TokenId> user_defined_;  // taken whole out of a text; the longest first
  std::optional<TokenId> bos_ = kBos;
  TokenId unknown_ = 0;
  std::vector<TokenId> ends_ = {kBos};
  bool adds_bos_ = true;
  bool space_before_text_ = true;  // the model learnt words with a space in front
  bool marks_spaces_ = false;      // U+2581 is a space
  bool merges_bytes_ = true;       // what is no piece is bytes before merging already
};

}  // namespace tapedeck::llama
