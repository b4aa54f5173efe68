#include "llama/vocabulary.hpp"

#include <limits>
#include <queue>
#include <string>

namespace tapedeck::llama {
namespace {

// Symbols are a linked list, candidates a heap in which outdated ones are found out when they come
// up.
class Merger {
 public:
  Merger(const Vocabulary& vocabulary, const std::vector<Symbol>& symbols)
      : vocabulary_(vocabulary) {
    links_.reserve(symbols.size());
    for (const Symbol& symbol : symbols) {
      const auto at = static_cast<std::uint32_t>(links_.size());
      links_.push_back({.symbol = symbol, .before = at - 1, .after = at + 1});
    }
    if (links_.empty()) return;
    links_.front().before = kNone;
    links_.back().after = kNone;
    for (std::uint32_t at = 0; at + 1 < links_.size(); ++at) consider(at, at + 1);
  }

  std::vector<Symbol> run() {
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      if (is_current(best)) merge(best);
    }
    std::vector<Symbol> left;
    // The first symbol is never merged away.
    std::uint32_t at = links_.empty() ? kNone : 0;
    for (; at != kNone; at = links_[at].after) left.push_back(links_[at].symbol);
    return left;
  }

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  struct Link {
    Symbol symbol;
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
    text_ = links_[left].symbol.text;
    text_ += links_[right].symbol.text;
    if (const auto merged = vocabulary_.find(text_)) {
      candidates_.push({vocabulary_.score(*merged), left, right, *merged});
    }
  }

  // Pieces are not empty, so a symbol that was merged since has grown.
  [[nodiscard]] bool is_current(const Candidate& c) const noexcept {
    return links_[c.left].after == c.right &&
           vocabulary_.text(c.merged).size() ==
               links_[c.left].symbol.text.size() + links_[c.right].symbol.text.size();
  }

  void merge(const Candidate& c) {
    Link& left = links_[c.left];
    Link& right = links_[c.right];
    left.symbol = {.text = vocabulary_.text(c.merged), .token = c.merged};
    left.after = right.after;
    right.after = c.right;  // out of the list: nobody's neighbour
    if (left.after != kNone) {
      links_[left.after].before = c.left;
      consider(c.left, left.after);
    }
    if (left.before != kNone) consider(left.before, c.left);
  }

  const Vocabulary& vocabulary_;
  std::vector<Link> links_;
  std::priority_queue<Candidate> candidates_;
  std::string text_;
};

}  // namespace

void Vocabulary::append_piece(std::string_view text, float score, bool found) {
  const auto id = static_cast<TokenId>(pieces_.size());
  pieces_.push_back({text, score});
  if (found) ids_.emplace(text, id);
}

void Vocabulary::reserve(std::size_t tokens) {
  pieces_.reserve(tokens);
  ids_.reserve(tokens);
}

std::optional<TokenId> Vocabulary::find(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::vector<Symbol> Vocabulary::merge(const std::vector<Symbol>& symbols) const {
  return Merger(*this, symbols).run();
}

}  // namespace tapedeck::llama
