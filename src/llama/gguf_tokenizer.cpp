// SPDX-License-Identifier: Apache-2.0
// The tokenizer in a GGUF file. It follows llama.cpp's llama-vocab.cpp.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "llama/model_error.hpp"
#include "llama/piece_text.hpp"
#include "llama/tokenizer.hpp"
#include "tapedeck/model/gguf_arrays.hpp"

namespace tapedeck::llama {
namespace {

// Values of tokenizer.ggml.token_type.
constexpr std::int64_t kNormal = 1;
constexpr std::int64_t kUnknown = 2;
constexpr std::int64_t kControl = 3;
constexpr std::int64_t kUserDefined = 4;
constexpr std::int64_t kByte = 6;

constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kScores = "tokenizer.ggml.scores";
constexpr const char* kTypes = "tokenizer.ggml.token_type";

void check_kind(const Model& gguf) {
  constexpr const char* kKind = "tokenizer.ggml.model";
  constexpr const char* kGiveAnother = "give a llama2.c tokenizer file: --tokenizer FILE";
  const std::string_view kind = gguf.metadata.string(kKind).value_or("");
  if (kind.empty()) {
    throw_key_error(gguf, kKind, FormatFault::missing, " is missing: the file has no tokenizer",
                    kGiveAnother);
  }
  if (kind == "llama") return;
  throw_key_error(gguf, kKind, FormatFault::unsupported,
                  " is " + quoted(kind) + ", but only llama (SentencePiece) is supported",
                  kGiveAnother);
}

void check_count(const Model& gguf, const char* key, std::size_t found, std::size_t wanted) {
  if (found == wanted) return;
  throw_key_error(gguf, key, FormatFault::contradictory,
                  " has a length of " + std::to_string(found) +
                      ", but the vocabulary has a size of " + std::to_string(wanted));
}

// Returns a token with a special meaning: `usual` if the file does not state one, or nothing if it
// states -1, by which some writers mean that the model has none.
std::optional<TokenId> special_token(const Model& gguf, const char* key,
                                     std::optional<TokenId> usual, std::size_t vocab) {
  if (!gguf.metadata.has(key)) return usual && *usual < vocab ? usual : std::nullopt;
  const std::optional<std::uint64_t> id = gguf.metadata.integer(key);
  if (!id) throw_key_error(gguf, key, FormatFault::wrong_type, " is not a token id");
  if (*id == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  if (*id < vocab) return static_cast<TokenId>(*id);
  throw_key_error(
      gguf, key, FormatFault::out_of_range,
      " is " + std::to_string(*id) + ", but the model has " + std::to_string(vocab) + " tokens");
}

}  // namespace

Tokenizer::Tokenizer(const Model& gguf, std::size_t vocab) : of_gguf_(true) {
  check_kind(gguf);
  ends_.clear();
  bos_ = special_token(gguf, "tokenizer.ggml.bos_token_id", kBos, vocab);
  for (const auto end : {bos_, special_token(gguf, "tokenizer.ggml.eos_token_id", kEos, vocab),
                         special_token(gguf, "tokenizer.ggml.eot_token_id", std::nullopt, vocab)}) {
    if (end) ends_.push_back(*end);
  }
  unknown_ = special_token(gguf, "tokenizer.ggml.unknown_token_id", 0, vocab).value_or(0);
  const Metadata& metadata = gguf.metadata;
  adds_bos_ = bos_ && metadata.boolean("tokenizer.ggml.add_bos_token").value_or(true);
  space_before_text_ = metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  read_tokens(gguf, vocab);
}

void Tokenizer::read_tokens(const Model& gguf, std::size_t vocab) {
  const GgufStrings tokens = read_gguf_strings(gguf, kTokens);
  check_count(gguf, kTokens, tokens.size(), vocab);
  const std::vector<float> scores = read_gguf_floats(gguf, kScores);
  check_count(gguf, kScores, scores.size(), vocab);
  // Old files have no types.
  std::vector<std::int64_t> types;
  if (gguf.metadata.has(kTypes)) {
    types = read_gguf_integers(gguf, kTypes);
    check_count(gguf, kTypes, types.size(), vocab);
  }
  pieces_.reserve(vocab);  // so that views of them stay valid
  ids_.reserve(vocab);
  for (TokenId id = 0; id < vocab; ++id) {
    if (std::isnan(scores[id])) {
      throw_key_error(gguf, kScores, FormatFault::out_of_range,
                      ": the score of token " + std::to_string(id) + " is NaN");
    }
    add_token(tokens[id], scores[id], types.empty() ? guessed_type(id, tokens[id]) : types[id]);
  }
  std::stable_sort(user_defined_.begin(), user_defined_.end(),
                   [this](TokenId a, TokenId b) { return piece(a).size() > piece(b).size(); });
}

std::int64_t Tokenizer::guessed_type(TokenId id, std::string_view text) const {
  if (raw_byte(text) >= 0) return kByte;
  return id == unknown_ || is_end(id) ? kControl : kNormal;
}

void Tokenizer::add_token(std::string_view stored, float score, std::int64_t type) {
  const auto id = static_cast<TokenId>(size());
  std::string text = with_spaces(stored);
  const int byte = type == kByte ? raw_byte(text) : -1;
  Kind kind = Kind::text;
  if (byte >= 0) {
    kind = Kind::byte;
    std::optional<TokenId>& token = bytes_[static_cast<std::size_t>(byte)];
    if (!token) token = id;
  } else if (type == kControl || type == kUnknown) {
    kind = Kind::control;
  } else if (type == kUserDefined && !text.empty()) {
    user_defined_.push_back(id);
  }
  append_token(std::move(text), score, kind);
}

}  // namespace tapedeck::llama
