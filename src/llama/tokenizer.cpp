// SPDX-License-Identifier: Apache-2.0
#include "llama/tokenizer.hpp"

#include <algorithm>
#include <limits>
#include <queue>
#include <utility>

#include "llama/piece_text.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

constexpr std::size_t kLongestText = (std::size_t{1} << 31) - 1;

// All bytes in order: raw byte tokens decode to views into this array.
constexpr std::array<char, 256> kBytes = [] {
  std::array<char, 256> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}();

bool continues_character(char c) noexcept { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Returns a byte and up to three continuation bytes after it. They need not be valid UTF-8: invalid
// sequences are not pieces, and so are encoded byte by byte.
std::string_view first_character(std::string_view text) noexcept {
  std::size_t length = 1;
  while (length < std::min<std::size_t>(4, text.size()) && continues_character(text[length])) {
    ++length;
  }
  return text.substr(0, length);
}

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

}  // namespace

// Merges the adjacent pair with the best score, the leftmost one among equals, until no pair is a
// piece. O(n log n). The symbols form a linked list whose first element is never merged away. The
// candidates are in a heap; outdated ones are dropped when they reach its top.
class Tokenizer::Merger {
 public:
  // @pre there is at least one symbol, there are fewer than 2^32, and no symbol's text is empty.
  Merger(const Tokenizer& tokenizer, std::vector<Symbol>& symbols)
      : tokenizer_(tokenizer), symbols_(symbols) {
    for (std::uint32_t at = 0; at < symbols.size(); ++at) {
      symbols[at].before = at == 0 ? kNone : at - 1;
      symbols[at].after = at + 1 == symbols.size() ? kNone : at + 1;
      if (at != 0) consider(at - 1, at);
    }
  }

  void run() {
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      if (is_current(best)) merge(best);
    }
  }

 private:
  struct Candidate {
    float score;
    std::uint32_t left;
    std::uint32_t right;
    TokenId merged;

    bool operator<(const Candidate& other) const noexcept {  // the queue's top is the largest
      if (score != other.score) return score < other.score;
      return left > other.left;
    }
  };

  void consider(std::uint32_t left, std::uint32_t right) {
    text_ = symbols_[left].text;
    text_ += symbols_[right].text;
    if (const auto merged = tokenizer_.find(text_)) {
      candidates_.push({tokenizer_.score(*merged), left, right, *merged});
    }
  }

  // Pieces are not empty, so a symbol that has been merged since is longer.
  [[nodiscard]] bool is_current(const Candidate& c) const noexcept {
    return symbols_[c.left].after == c.right &&
           tokenizer_.piece(c.merged).size() ==
               symbols_[c.left].text.size() + symbols_[c.right].text.size();
  }

  void merge(const Candidate& c) {
    Symbol& left = symbols_[c.left];
    Symbol& right = symbols_[c.right];
    left.text = tokenizer_.piece(c.merged);
    left.token = c.merged;
    left.after = right.after;
    right.after = c.right;  // out of the list: it has no neighbors
    if (left.after != kNone) {
      symbols_[left.after].before = c.left;
      consider(c.left, left.after);
    }
    if (left.before != kNone) consider(left.before, c.left);
  }

  const Tokenizer& tokenizer_;
  std::vector<Symbol>& symbols_;
  std::priority_queue<Candidate> candidates_;
  std::string text_;
};

void Tokenizer::append_token(std::string text, float score, Kind kind) {
  const auto id = static_cast<TokenId>(size());
  pieces_.push_back({std::move(text), score, kind});
  // In llama2.c, the name of a byte token is also a piece of text.
  const bool is_text = kind == Kind::text || !of_gguf_;
  if (is_text && !piece(id).empty()) ids_.emplace(piece(id), id);
}

std::optional<TokenId> Tokenizer::find(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool Tokenizer::is_end(TokenId token) const noexcept {
  return std::find(ends_.begin(), ends_.end(), token) != ends_.end();
}

std::optional<TokenId> Tokenizer::user_defined_at(std::string_view text) const noexcept {
  for (const TokenId token : user_defined_) {
    if (text.starts_with(piece(token))) return token;
  }
  return std::nullopt;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  if (text.size() > kLongestText) {
    throw InvalidArgument(
        {.argument = "text", .value = text.size(), .limit = kLongestText},
        "the text has " + std::to_string(text.size()) + " bytes, but must be shorter than 2 GiB",
        "encode it in parts");
  }
  std::string spaced;
  if (of_gguf_) text = spaced = with_spaces(text);
  std::vector<TokenId> ids;
  ids.reserve(text.size() + 2);
  if (adds_bos_) ids.push_back(*bos_);

  std::size_t plain = 0;  // where the text that is not encoded yet begins
  for (std::size_t at = 0; at < text.size() && !user_defined_.empty();) {
    const std::optional<TokenId> token = user_defined_at(text.substr(at));
    if (!token) {
      ++at;
      continue;
    }
    encode_plain(text.substr(plain, at - plain), ids);
    ids.push_back(*token);
    at += piece(*token).size();
    plain = at;
  }
  encode_plain(text.substr(plain), ids);
  return ids;
}

void Tokenizer::encode_plain(std::string_view text, std::vector<TokenId>& ids) const {
  if (text.empty()) return;
  std::vector<Symbol> symbols;
  symbols.reserve(text.size() + 1);
  if (space_before_text_) add_symbols(" ", symbols);
  while (!text.empty()) {
    const std::string_view character = first_character(text);
    add_symbols(character, symbols);
    text.remove_prefix(character.size());
  }
  Merger(*this, symbols).run();
  for (std::uint32_t at = 0; at != kNone; at = symbols[at].after) {
    if (symbols[at].token) {
      ids.push_back(*symbols[at].token);
    } else {
      for (const char byte : symbols[at].text) ids.push_back(byte_token(byte));
    }
  }
}

void Tokenizer::add_symbols(std::string_view character, std::vector<Symbol>& symbols) const {
  const std::optional<TokenId> token = find(character);
  if (token || of_gguf_) {
    symbols.push_back({character, token});
    return;
  }
  for (const char byte : character) {
    const TokenId raw = byte_token(byte);
    symbols.push_back({piece(raw), raw});
  }
}

std::string_view Tokenizer::decode(std::optional<TokenId> previous, TokenId token) const noexcept {
  const Kind kind = pieces_[token].kind;
  if (kind == Kind::control) return {};
  std::string_view text = piece(token);
  if (kind == Kind::byte) text = {&kBytes[static_cast<std::size_t>(raw_byte(text))], 1};
  // llama2.c keeps a space that is a raw byte token.
  const bool may_begin_so = space_before_text_ && (kind == Kind::text || of_gguf_);
  const bool begins = !previous || previous == bos_;
  if (begins && may_begin_so && text.starts_with(' ')) text.remove_prefix(1);
  return text;
}

}  // namespace tapedeck::llama
