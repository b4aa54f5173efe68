#include "engine/tokenizer.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <queue>

#include "engine/input_file.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {
namespace {

// What a raw byte token decodes to is a view into this.
constexpr std::array<char, 256> kBytes = [] {
  std::array<char, 256> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}();

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// "<0x0A>" is the byte 10; -1 for any other piece.
int raw_byte(std::string_view piece) noexcept {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const int high = hex_digit(piece[3]);
  const int low = hex_digit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool continues_character(char c) noexcept { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Merges the best-scoring adjacent pair, the leftmost of equals, until no pair is a piece. Symbols
// are a linked list, candidates a heap in which outdated ones are found out when they come up.
class Merger {
 public:
  Merger(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) : tokenizer_(tokenizer) {
    symbols_.reserve(ids.size());
    for (const TokenId id : ids) {
      const auto at = static_cast<std::uint32_t>(symbols_.size());
      symbols_.push_back({.id = id, .before = at - 1, .after = at + 1});
    }
    if (symbols_.empty()) return;
    symbols_.front().before = kNone;
    symbols_.back().after = kNone;
    for (std::uint32_t at = 0; at + 1 < symbols_.size(); ++at) consider(at, at + 1);
  }

  void run() {
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      if (is_current(best)) merge(best);
    }
  }

  void append_to(std::vector<TokenId>& ids) const {
    // The first symbol is never merged away.
    std::uint32_t at = symbols_.empty() ? kNone : 0;
    for (; at != kNone; at = symbols_[at].after) ids.push_back(symbols_[at].id);
  }

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  struct Symbol {
    TokenId id;
    std::uint32_t before;
    std::uint32_t after;
  };

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
    text_ = tokenizer_.piece(symbols_[left].id);
    text_ += tokenizer_.piece(symbols_[right].id);
    if (const auto merged = tokenizer_.find(text_)) {
      candidates_.push({tokenizer_.score(*merged), left, right, *merged});
    }
  }

  // Pieces are not empty, so a symbol that was merged since has grown.
  [[nodiscard]] bool is_current(const Candidate& c) const noexcept {
    return symbols_[c.left].after == c.right &&
           tokenizer_.piece(c.merged).size() == tokenizer_.piece(symbols_[c.left].id).size() +
                                                    tokenizer_.piece(symbols_[c.right].id).size();
  }

  void merge(const Candidate& c) {
    Symbol& left = symbols_[c.left];
    Symbol& right = symbols_[c.right];
    left.id = c.merged;
    left.after = right.after;
    right.after = c.right;  // out of the list: nobody's neighbour
    if (left.after != kNone) {
      symbols_[left.after].before = c.left;
      consider(c.left, left.after);
    }
    if (left.before != kNone) consider(left.before, c.left);
  }

  const Tokenizer& tokenizer_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate> candidates_;
  std::string text_;
};

template <class T>
T load(const char* at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& path, std::size_t vocab) {
  const InputFile file(path);
  if (vocab < kFirstPiece) {
    throw FormatError(
        file.path(), 0,
        "the model's vocabulary of " + std::to_string(vocab) + " has no room for the byte tokens");
  }
  std::int32_t longest = 0;
  file.read(0, std::as_writable_bytes(std::span(&longest, 1)), "the header");
  if (longest <= 0) {
    throw FormatError(file.path(), 0, "the longest token has " + std::to_string(longest) + " bytes",
                      "is it a tokenizer of llama2.c?");
  }
  // A model given by mistake is not read as a whole.
  const auto most = checked_mul<std::size_t>(vocab, static_cast<std::size_t>(longest) + 8);
  if (most && file.size() - sizeof longest > *most) {
    throw FormatError(file.path(), sizeof longest + *most,
                      "more bytes than " + std::to_string(vocab) + " tokens can have",
                      "is it the tokenizer of this model?");
  }
  bytes_.resize(file.size());
  file.read(0, std::as_writable_bytes(std::span(bytes_)), "the tokens");
  parse(file.path(), vocab);
}

void Tokenizer::parse(const std::string& path, std::size_t vocab) {
  const auto longest = load<std::int32_t>(bytes_.data());
  std::size_t at = sizeof longest;
  const auto refuse = [&](std::size_t offset, const std::string& text) {
    throw FormatError(
        path, offset, text,
        "is it the tokenizer of this model, with " + std::to_string(vocab) + " tokens?");
  };
  // Nothing is allocated for tokens that the file has no room for.
  if ((bytes_.size() - at) / 9 < vocab) {
    refuse(bytes_.size(), "too short for " + std::to_string(vocab) + " tokens");
  }
  pieces_.reserve(vocab);
  ids_.reserve(vocab);
  for (TokenId id = 0; id < vocab; ++id) {
    const std::string token = "token " + std::to_string(id);
    if (bytes_.size() - at < 8) refuse(bytes_.size(), "the file ends before " + token);
    const auto score = load<float>(&bytes_[at]);
    const auto length = load<std::int32_t>(&bytes_[at + 4]);
    if (std::isnan(score)) refuse(at, token + " has no score (NaN)");
    if (length <= 0 || length > longest) {
      refuse(at + 4, token + " has " + std::to_string(length) + " bytes, and the longest " +
                         std::to_string(longest));
    }
    at += 8;
    const auto bytes = static_cast<std::size_t>(length);
    if (bytes_.size() - at < bytes) refuse(bytes_.size(), "the file ends inside " + token);
    pieces_.push_back({{bytes_.data() + at, bytes}, score});
    ids_.emplace(pieces_.back().text, id);  // of equal pieces the first counts
    at += bytes;
  }
  if (at != bytes_.size()) refuse(at, "bytes after the last token");
}

std::optional<TokenId> Tokenizer::find(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  if (text.size() >= std::size_t{1} << 31) throw InvalidArgument("a text of 2 GiB or more");
  std::vector<TokenId> ids;
  const auto add = [&](std::string_view character) {
    if (const auto id = find(character)) {
      ids.push_back(*id);
      return;
    }
    for (const char c : character) ids.push_back(kFirstByte + static_cast<unsigned char>(c));
  };
  ids.reserve(text.size() + 1);
  if (!text.empty()) add(" ");  // the model learnt words with a space in front
  while (!text.empty()) {
    // A byte and up to three that continue it. Whether that is valid UTF-8 does not matter: if it
    // is not, it is no piece, and falls back to bytes.
    std::size_t length = 1;
    while (length < std::min<std::size_t>(4, text.size()) && continues_character(text[length])) {
      ++length;
    }
    add(text.substr(0, length));
    text.remove_prefix(length);
  }

  Merger merger(*this, ids);
  merger.run();
  ids.assign(1, kBos);
  merger.append_to(ids);
  return ids;
}

std::string_view Tokenizer::decode(TokenId previous, TokenId token) const noexcept {
  std::string_view text = pieces_[token].text;
  if (previous == kBos && text.starts_with(' ')) text.remove_prefix(1);
  const int byte = raw_byte(text);
  return byte < 0 ? text : std::string_view(&kBytes[static_cast<std::size_t>(byte)], 1);
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
