// SPDX-License-Identifier: Apache-2.0
#include "cli/made_model.hpp"

#include <gmock/gmock.h>

#include <cctype>
#include <set>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "llama/support.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
using namespace std::string_literals;
namespace {

using cli::make_model;
using llama::Shape;
using llama::TokenId;
using llama::Tokenizer;
using ::testing::UnorderedElementsAre;

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

Shape with(std::size_t Shape::*field, std::size_t value) {
  Shape shape = kSmall;
  shape.*field = value;
  return shape;
}

class MadeModel : public ::testing::Test {
 protected:
  TempFolder folder_;
};

TEST_F(MadeModel, TheSameSeedGivesTheSameFilesAndAnotherSeedAnotherModel) {
  const std::string a = content_of(made(folder_, "a", kSmall, 1));
  EXPECT_EQ(content_of(made(folder_, "b", kSmall, 1)), a);
  const std::string c = content_of(made(folder_, "c", kSmall, 2));
  EXPECT_NE(c, a);
  EXPECT_EQ(c.size(), a.size());
  EXPECT_EQ(a.size(), cli::checkpoint_bytes(kSmall));
  EXPECT_EQ(content_of(folder_ / "a.tokenizer"), content_of(folder_ / "c.tokenizer"));

  Host one(folder_ / "a");
  Host other(folder_ / "c");
  EXPECT_NE(ids_of_talk(one.decoder, {1}), ids_of_talk(other.decoder, {1}));
}

TEST_F(MadeModel, ReplacesFilesAndLeavesOnlyTwo) {
  static_cast<void>(folder_.write("m", "old"));
  static_cast<void>(folder_.write("m.tokenizer", "old"));
  static_cast<void>(made(folder_, "m", kSmall));
  EXPECT_THAT(names_in(folder_.path()), UnorderedElementsAre("m", "m.tokenizer"));
  EXPECT_NO_THROW(Host(folder_ / "m"));
}

TEST_F(MadeModel, ItsTokenizerIsOneAtAnySize) {
  for (const std::size_t vocab : {259U, 260U, 512U, 32'000U}) {
    const auto model = made(folder_, "m", with(&Shape::vocab, vocab));
    const Tokenizer tokenizer(cli::tokenizer_beside(model), vocab);
    std::set<std::string_view> pieces;
    for (TokenId id = 0; id < vocab; ++id) pieces.insert(tokenizer.piece(id));
    EXPECT_EQ(pieces.size(), vocab);
    for (TokenId id = llama::kFirstPiece; id < vocab; ++id) {
      for (const char c : tokenizer.piece(id)) ASSERT_TRUE(c == '\n' || std::isprint(c));
      EXPECT_LT(tokenizer.score(id), id > llama::kFirstPiece ? tokenizer.score(id - 1) : 1);
    }
    EXPECT_EQ(tokenizer.piece(3 + 0xAF), "<0xAF>");
    const std::string text = "Once upon a time, 2 x \xC3\xA9\n";
    std::string back;
    TokenId previous = 1;
    for (const TokenId id : tokenizer.encode(text)) {
      if (id != 1) back += tokenizer.decode(previous, id);
      previous = id;
    }
    // Without a piece for a space, a raw byte represents it, and is not dropped after BOS.
    EXPECT_EQ(back, vocab < 261 ? " " + text : text);
  }
}

TEST_F(MadeModel, RefusesImpossibleShapes) {
  const auto refused = [&](const Shape& shape) {
    return thrown<InvalidArgument>(
        [&] { static_cast<void>(make_model(folder_ / "m", shape, 1, kNeverStop)); });
  };
  for (const auto& [field, name] : {std::pair{&Shape::dim, "Shape::dim"},
                                    {&Shape::ffn, "Shape::ffn"},
                                    {&Shape::layers, "Shape::layers"},
                                    {&Shape::heads, "Shape::heads"},
                                    {&Shape::kv_heads, "Shape::kv_heads"},
                                    {&Shape::vocab, "Shape::vocab"},
                                    {&Shape::seq_len, "Shape::seq_len"}}) {
    const InvalidArgument least = refused(with(field, 0));
    EXPECT_EQ(least.argument(), name);
    EXPECT_EQ(least.limit(), 1U);
    const InvalidArgument most = refused(with(field, kMost));
    EXPECT_EQ(most.argument(), name);
    EXPECT_EQ(most.limit(), (std::uint64_t{1} << 31) - 1);
  }
  const auto message = [&](std::size_t Shape::*field, std::size_t value) {
    return std::string(refused(with(field, value)).message());
  };
  const std::string no = "a model cannot be made: ";
  EXPECT_EQ(message(&Shape::heads, 5), no + "Shape::heads of 5 does not divide Shape::dim of 24");
  EXPECT_EQ(message(&Shape::heads, 8),
            no + "Shape::heads of 8 gives heads of an odd size with Shape::dim of 24");
  EXPECT_EQ(message(&Shape::kv_heads, 3),
            no + "Shape::kv_heads of 3 does not divide Shape::heads of 4");
  EXPECT_EQ(refused(with(&Shape::layers, 4097)).limit(), 4096U);
  EXPECT_EQ(refused(with(&Shape::vocab, 258)).limit(), 259U);
  Shape huge = with(&Shape::ffn, 2'000'000'000);
  huge.dim = 2'000'000'000;
  huge.layers = 4096;
  EXPECT_EQ(refused(huge).argument(), "shape");
  EXPECT_THAT(names_in(folder_.path()), ::testing::IsEmpty());
}

TEST_F(MadeModel, RefusesBeforeTheDiskIsFull) {
  Shape shape = with(&Shape::ffn, 2'000'000'000);
  shape.layers = 1000;  // 500 TiB
  const auto full = thrown<SystemError>(
      [&] { static_cast<void>(make_model(folder_ / "m", shape, 1, kNeverStop)); });
  EXPECT_EQ(full.number(), ENOSPC);
  EXPECT_EQ(full.bytes(), cli::checkpoint_bytes(shape));
  EXPECT_THAT(names_in(folder_.path()), ::testing::IsEmpty());
}

TEST_F(MadeModel, StoppedItLeavesNothing) {
  const std::atomic<bool> stop{true};
  EXPECT_FALSE(make_model(folder_ / "m", kSmall, 1, stop));
  EXPECT_THAT(names_in(folder_.path()), ::testing::IsEmpty());
}

TEST_F(MadeModel, EveryRefusalOfTheSystemLeavesNothing) {
  std::set<std::string> victims;
  for (std::uint64_t call = 1;; ++call) {
    const TempFolder folder;
    const os::InjectFault fault(call, ENOSPC);
    try {
      EXPECT_TRUE(make_model(folder / "m", kSmall, 1, kNeverStop));
      EXPECT_THAT(names_in(folder.path()), UnorderedElementsAre("m", "m.tokenizer"));
      if (!os::InjectFault::fired()) break;
      // The result of the first is only advisory, and without the others the file has a name.
      EXPECT_THAT(os::InjectFault::victim(), ::testing::AnyOf("statvfs"s, "open"s, "stat"s));
    } catch (const SystemError& error) {
      EXPECT_EQ(error.number(), ENOSPC);
      EXPECT_TRUE(error.path().starts_with((folder / "m").string())) << error.path();
      EXPECT_THAT(names_in(folder.path()), ::testing::IsEmpty());
    }
    victims.insert(os::InjectFault::victim());
  }
  EXPECT_THAT(victims, UnorderedElementsAre("statvfs", "stat", "open", "write", "linkat"));
}

}  // namespace
}  // namespace tapedeck::tests
