/// @file
/// The pieces of a byte-pair tokenizer, and merging them: what all kinds of files share.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// A piece of a text: a token, or a character that has none.
struct Symbol {
  std::string_view text;
  std::optional<TokenId> token;
};

/// Pieces with scores. Their texts are views, held by somebody else. Thread-safety: immutable once
/// filled.
class Vocabulary {
 public:
  /// Adds the next token.
  /// @param found  by its text; tokens that no text may become are not. Of equal texts the first
  /// counts.
  void append_piece(std::string_view text, float score, bool found);
  void reserve(std::size_t tokens);

  [[nodiscard]] std::size_t size() const noexcept { return pieces_.size(); }
  [[nodiscard]] std::string_view text(TokenId token) const noexcept { return pieces_[token].text; }
  [[nodiscard]] float score(TokenId token) const noexcept { return pieces_[token].score; }
  /// The token that is exactly this text.
  [[nodiscard]] std::optional<TokenId> find(std::string_view text) const;

  /// Merges the best-scoring adjacent pair, the leftmost of equals, until no pair is a piece.
  /// O(n log n). @pre no text is empty, and there are fewer than 2^32.
  [[nodiscard]] std::vector<Symbol> merge(const std::vector<Symbol>& symbols) const;

 private:
  struct Piece {
    std::string_view text;
    float score;
  };

  std::vector<Piece> pieces_;
  std::unordered_map<std::string_view, TokenId> ids_;
};

}  // namespace tapedeck::llama
