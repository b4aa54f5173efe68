// SPDX-License-Identifier: Apache-2.0
#include "llama/tokenizer.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "llama/support.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using llama::TokenId;
using llama::Tokenizer;
using ::testing::ElementsAre;

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

struct Piece {
  std::string text;
  float score;
};

// The file has unk, BOS, EOS, the bytes, and these pieces.
std::string tokenizer_file(const std::vector<Piece>& pieces) {
  std::string bytes;
  const auto add = [&](const std::string& text, float score) {
    append(bytes, score);
    append(bytes, static_cast<std::int32_t>(text.size()));
    bytes += text;
  };
  append(bytes, std::int32_t{16});
  add("<unk>", 0);
  add("\n<s>\n", 0);
  add("\n</s>\n", 0);
  for (int byte = 0; byte < 256; ++byte) add(piece_of_byte(byte), 0);
  for (const Piece& piece : pieces) add(piece.text, piece.score);
  return bytes;
}

// The simple algorithm, which examines all pairs before each merge.
std::vector<TokenId> encode_plainly(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<TokenId> ids;
  std::vector<std::string> characters;
  if (!text.empty()) characters.emplace_back(" ");
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 1;
    while (length < 4 && at + length < text.size() && (text[at + length] & 0xC0) == 0x80) ++length;
    characters.push_back(text.substr(at, length));
    at += length;
  }
  for (const std::string& character : characters) {
    if (const auto id = tokenizer.find(character)) {
      ids.push_back(*id);
    } else {
      for (const char c : character) ids.push_back(static_cast<unsigned char>(c) + 3U);
    }
  }
  for (;;) {
    std::optional<TokenId> best;
    std::size_t best_at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto merged = tokenizer.find(std::string(tokenizer.piece(ids[i])) +
                                         std::string(tokenizer.piece(ids[i + 1])));
      if (merged && (!best || tokenizer.score(*merged) > tokenizer.score(*best))) {
        best = merged;
        best_at = i;
      }
    }
    if (!best) break;
    ids[best_at] = *best;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
  ids.insert(ids.begin(), 1);
  return ids;
}

class TokenizerTest : public ::testing::Test {
 protected:
  Tokenizer make(const std::vector<Piece>& pieces) {
    return {folder_.write("tokenizer", tokenizer_file(pieces)), 259 + pieces.size()};
  }

  Refusal refusal_of_bytes(const std::string& bytes, std::size_t vocab) {
    return refusal_of(folder_.write("mutant", bytes), [&](const auto& file) {
      const Tokenizer tokenizer(file, vocab);
      static_cast<void>(text_of_ids(tokenizer, tokenizer.encode("Once upon a time, 12 \xC3\xA9!")));
    });
  }

  TempFolder folder_;
};

TEST_F(TokenizerTest, WhatIsNoPieceBecomesItsBytes) {
  const Tokenizer tokenizer = make({{"\xC3\xA9", -1}});
  // There is no piece for a space, nor for half of a character.
  EXPECT_THAT(tokenizer.encode("\xC3\xA9"), ElementsAre(1, 3 + ' ', 259));
  EXPECT_THAT(tokenizer.encode("\xC3"), ElementsAre(1, 3 + ' ', 3 + 0xC3));
  EXPECT_THAT(tokenizer.encode("\xE6\x97\xA5"),
              ElementsAre(1, 3 + ' ', 3 + 0xE6, 3 + 0x97, 3 + 0xA5));
  const std::string odd("\0\xFF\x80\x80\x80\x80\x80\xF0", 8);
  EXPECT_EQ(text_of_ids(tokenizer, tokenizer.encode(odd)), " " + odd);
}

TEST_F(TokenizerTest, DecodesBytesAndDropsOneSpaceAfterBos) {
  const Tokenizer tokenizer = make({{" ", -1}, {"  x", -2}, {"<0x4g>", -3}, {"<0x41>>", -4}});
  EXPECT_EQ(tokenizer.decode(0, 3 + 0x41), "A");
  EXPECT_EQ(tokenizer.decode(0, 3), std::string_view("\0", 1));
  EXPECT_EQ(tokenizer.decode(1, 3 + ' '), " ");  // a raw byte is not a leading space
  EXPECT_EQ(tokenizer.decode(1, 259), "");
  EXPECT_EQ(tokenizer.decode(0, 259), " ");
  EXPECT_EQ(tokenizer.decode(1, 260), " x");
  EXPECT_EQ(tokenizer.decode(0, 261), "<0x4g>");
  EXPECT_EQ(tokenizer.decode(0, 262), "<0x41>>");
}

TEST_F(TokenizerTest, EncodesAsThePlainAlgorithmDoes) {
  if (kThreadSanitized) GTEST_SKIP() << kOneThread;
  // Characters of one to four bytes, an invalid one, and few different scores: many merges, many
  // ties.
  const std::vector<std::string> letters = {
      "a", "b", " ", "\xC3\xA9", "\xE6\x97\xA5", "\xF0\x9F\x98\x80", "\x80", "\xC3", "<"};
  std::mt19937_64 random(7);
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < 6; ++i) pieces.push_back({letters[i], 0});
  pieces.push_back({"<0x80>a", 0});  // the name of a byte, merged with a letter
  for (int i = 0; i < 80; ++i) {
    const std::string text =
        pieces[random() % pieces.size()].text + pieces[random() % pieces.size()].text;
    if (text.size() <= 16) pieces.push_back({text, -static_cast<float>(random() % 5)});
  }
  const Tokenizer tokenizer = make(pieces);
  std::size_t merges = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (std::size_t n = random() % 20; n != 0; --n) {
      text += letters[random() % letters.size()];
      text += pieces[random() % pieces.size()].text;
    }
    const std::vector<TokenId> ids = tokenizer.encode(text);
    ASSERT_EQ(ids, encode_plainly(tokenizer, text)) << text;
    merges += static_cast<std::size_t>(
        std::count_if(ids.begin(), ids.end(), [](TokenId id) { return id >= 259 + 7; }));
  }
  EXPECT_GT(merges, 10'000U);
}

TEST_F(TokenizerTest, OfEqualPiecesTheFirstCounts) {
  const Tokenizer tokenizer = make({{" ", 0}, {"a", -1}, {"a", -2}});
  EXPECT_THAT(tokenizer.encode("a"), ElementsAre(1, 259, 260));
  EXPECT_EQ(tokenizer.decode(0, 261), "a");
}

TEST_F(TokenizerTest, SaysWhatIsWrong) {
  using enum FormatFault;
  const std::string good = tokenizer_file({{" ", -1}, {"ab", -2}});
  const std::size_t end = good.size();
  constexpr const char* kLongest = "the longest token";
  EXPECT_EQ(refusal_of_bytes(good, 261), kTaken);
  EXPECT_EQ(refusal_of_bytes(good, 262), (Refusal{"token 261", cut_off, end}));
  EXPECT_EQ(refusal_of_bytes(good, 260), (Refusal{"", contradictory, end - 10}));
  for (const std::size_t vocab : {std::size_t{512}, std::size_t{1} << 31}) {
    EXPECT_EQ(refusal_of_bytes(good, vocab), (Refusal{kLongest, contradictory, 0}));
  }
  EXPECT_EQ(refusal_of_bytes(good + "x", 261), (Refusal{"", contradictory, end}));
  EXPECT_EQ(refusal_of_bytes(good.substr(0, 3), 261), (Refusal{kLongest, cut_off, 3}));
  EXPECT_NE(refusal_of_bytes("", 261), kTaken);
  const auto no_bytes = thrown<InvalidArgument>([&] { refusal_of_bytes(good, 258); });
  EXPECT_EQ(no_bytes.argument(), "vocab");
  EXPECT_EQ(no_bytes.limit(), 259U);

  const auto after = [&](std::size_t at, auto value, const std::string& more = {}) {
    std::string bytes = good;
    overwrite(bytes, at, value);
    return refusal_of_bytes(bytes + more, 261);
  };
  for (const std::int32_t length : {0, -1, 17, std::numeric_limits<std::int32_t>::min()}) {
    EXPECT_EQ(after(8, length), (Refusal{"token 0", out_of_range, 8}));
  }
  for (const std::int32_t longest : {0, -1}) {
    EXPECT_EQ(after(0, longest), (Refusal{kLongest, out_of_range, 0}));
  }
  EXPECT_EQ(after(4, std::numeric_limits<float>::quiet_NaN()),
            (Refusal{"token 0", out_of_range, 4}));
  EXPECT_EQ(after(0, std::int32_t{6}, std::string(4000, 'x')),
            (Refusal{kLongest, contradictory, 0}));
}

TEST_F(TokenizerTest, EveryTruncationIsRefused) {
  const std::string good = tokenizer_file({{" ", -1}, {"ab", -2}});
  for (std::size_t length = 0; length < good.size();
       length += length < good.size() - 50 ? 13U : 1U) {
    EXPECT_NE(refusal_of_bytes(good.substr(0, length), 261), kTaken) << length;
  }
}

TEST_F(TokenizerTest, RandomDamageNeverCrashes) {
  const std::string good = tokenizer_file({{" ", -1}, {"O", -2}, {"n", -2}, {"On", -3}});
  std::mt19937_64 random(10);
  int taken = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    taken += refusal_of_bytes(damaged(good, good.size(), random), 263) == kTaken ? 1 : 0;
  }
  EXPECT_GT(taken, kRounds / 20);  // other texts and scores also make a valid tokenizer
  EXPECT_LT(taken, kRounds * 3 / 4);
}

}  // namespace
}  // namespace tapedeck::tests
