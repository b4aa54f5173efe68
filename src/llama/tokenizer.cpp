#include "llama/tokenizer.hpp"

#include <algorithm>

#include "llama/piece_text.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

constexpr std::size_t kLongestText = (std::size_t{1} << 31) - 1;

// What a raw byte token decodes to is a view into this.
constexpr std::array<char, 256> kBytes = [] {
  std::array<char, 256> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}();

bool continues_character(char c) noexcept { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// A byte and up to three that continue it. Whether that is valid UTF-8 does not matter: if it is
// not, it is no piece, and falls back to bytes.
std::string_view first_character(std::string_view text) noexcept {
  std::size_t length = 1;
  while (length < std::min<std::size_t>(4, text.size()) && continues_character(text[length])) {
    ++length;
  }
  return text.substr(0, length);
}

}  // namespace

std::string_view Tokenizer::keep_text(std::string_view text) {
  const std::size_t begin = texts_.size();
  texts_.insert(texts_.end(), text.begin(), text.end());
  return {texts_.data() + begin, text.size()};
}

void Tokenizer::append_token(std::string_view text, float score, Kind kind, bool found) {
  vocabulary_.append_piece(text, score, found);
  kinds_.push_back(kind);
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
    throw InvalidArgument({.argument = "text", .value = text.size(), .limit = kLongestText},
                          "a text of 2 GiB or more");
  }
  std::string spaced;
  if (marks_spaces_) text = spaced = with_spaces(text);
  std::vector<TokenId> ids;
  ids.reserve(text.size() + 2);
  if (adds_bos_) ids.push_back(*bos_);

  std::size_t plain = 0;  // where the text begins that is not encoded yet
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
  for (const Symbol& symbol : vocabulary_.merge(symbols)) {
    if (symbol.token) {
      ids.push_back(*symbol.token);
    } else {
      for (const char byte : symbol.text) ids.push_back(byte_token(byte));
    }
  }
}

void Tokenizer::add_symbols(std::string_view character, std::vector<Symbol>& symbols) const {
  const std::optional<TokenId> token = find(character);
  if (token || !merges_bytes_) {
    symbols.push_back({character, token});
    return;
  }
  for (const char byte : character) {
    const TokenId raw = byte_token(byte);
    symbols.push_back({piece(raw), raw});
  }
}

std::string_view Tokenizer::decode(std::optional<TokenId> previous, TokenId token) const noexcept {
  const Kind kind = kinds_[token];
  if (kind == Kind::control) return {};
  std::string_view text = piece(token);
  if (kind == Kind::byte) text = {&kBytes[static_cast<std::size_t>(raw_byte(text))], 1};
  // A raw space stays with llama2.c.
  const bool may_begin_so = space_before_text_ && (kind == Kind::text || marks_spaces_);
  const bool begins = !previous || previous == bos_;
  if (begins && may_begin_so && text.starts_with(' ')) text.remove_prefix(1);
  return text;
}

}  // namespace tapedeck::llama
