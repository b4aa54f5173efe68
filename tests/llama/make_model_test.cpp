#include "llama/make_model.hpp"

#include <gmock/gmock.h>

#include <cctype>
#include <set>

#include "base/most.hpp"
#include "llama/support.hpp"
#include "os/faults.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

using llama::make_model;
using llama::Shape;
using llama::TokenId;
using llama::Tokenizer;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::Throws;
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

class MakeModelTest : public ::testing::Test {
 protected:
  std::string refusal_of(const Shape& shape) {
    try {
      static_cast<void>(make_model(folder_ / "m", shape, 1, kNeverStop));
      return {};
    } catch (const InvalidArgument& error) {
      return error.what();
    }
  }

  TempFolder folder_;
};

TEST_F(MakeModelTest, TheSameSeedGivesTheSameFilesAndAnotherSeedAnotherModel) {
  const std::string a = content_of(made(folder_, "a", kSmall, 1));
  EXPECT_EQ(content_of(made(folder_, "b", kSmall, 1)), a);
  const std::string c = content_of(made(folder_, "c", kSmall, 2));
  EXPECT_NE(c, a);
  EXPECT_EQ(c.size(), a.size());
  EXPECT_EQ(a.size(), llama::file_bytes(kSmall));
  EXPECT_EQ(content_of(folder_ / "a.tokenizer"), content_of(folder_ / "c.tokenizer"));

  Host one(folder_ / "a");
  Host other(folder_ / "c");
  EXPECT_NE(ids_of_talk(one, {1}), ids_of_talk(other, {1}));
}

TEST_F(MakeModelTest, ReplacesFilesAndLeavesOnlyTwo) {
  static_cast<void>(folder_.write("m", "old"));
  static_cast<void>(folder_.write("m.tokenizer", "old"));
  static_cast<void>(made(folder_, "m", kSmall));
  EXPECT_THAT(names_in(folder_.path()), UnorderedElementsAre("m", "m.tokenizer"));
  EXPECT_NO_THROW(Host(folder_ / "m"));
}

TEST_F(MakeModelTest, ItsTokenizerIsOneAtAnySize) {
  for (const std::size_t vocab : {259U, 260U, 512U, 32'000U}) {
    const auto model = made(folder_, "m", with(&Shape::vocab, vocab));
    const Tokenizer tokenizer(llama::tokenizer_beside(model), vocab);
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
    // Where there is no piece for a space, a raw byte stands for it, and is not dropped after BOS.
    EXPECT_EQ(back, vocab < 261 ? " " + text : text);
  }
}

TEST_F(MakeModelTest, RefusesWhatIsNoModel) {
  for (const auto field : {&Shape::dim, &Shape::ffn, &Shape::layers, &Shape::heads,
                           &Shape::kv_heads, &Shape::vocab, &Shape::seq_len}) {
    EXPECT_THAT(refusal_of(with(field, 0)), HasSubstr("is 0"));
    EXPECT_THAT(refusal_of(with(field, kMost)), HasSubstr("does not fit in 32 bits"));
  }
  EXPECT_THAT(refusal_of(with(&Shape::heads, 5)), HasSubstr("does not divide"));
  EXPECT_THAT(refusal_of(with(&Shape::heads, 8)), HasSubstr("is odd"));
  EXPECT_THAT(refusal_of(with(&Shape::kv_heads, 3)), HasSubstr("does not divide"));
  EXPECT_THAT(refusal_of(with(&Shape::vocab, 258)), HasSubstr("byte tokens"));
  Shape huge = with(&Shape::ffn, 2'000'000'000);
  huge.dim = 2'000'000'000;
  huge.layers = 2'000'000'000;
  EXPECT_THAT(refusal_of(huge), HasSubstr("larger than any"));
  EXPECT_THAT(names_in(folder_.path()), ::testing::IsEmpty());
}

TEST_F(MakeModelTest, RefusesBeforeTheDiskIsFull) {
  Shape shape = with(&Shape::ffn, 2'000'000'000);
  shape.layers = 1000;  // 500 TiB
  EXPECT_THAT([&] { static_cast<void>(make_model(folder_ / "m", shape, 1, kNeverStop)); },
              Throws<SystemError>(AllOf(Property(&SystemError::number, ENOSPC),
                                        Property(&SystemError::bytes, llama::file_bytes(shape)))));
  EXPECT_THAT(names_in(folder_.path()), ::testing::IsEmpty());
}

TEST_F(MakeModelTest, StoppedItLeavesNothing) {
  const std::atomic<bool> stop{true};
  EXPECT_FALSE(make_model(folder_ / "m", kSmall, 1, stop));
  EXPECT_THAT(names_in(folder_.path()), ::testing::IsEmpty());
}

TEST_F(MakeModelTest, EveryRefusalOfTheSystemLeavesNothing) {
  std::set<std::string> victims;
  for (std::uint64_t call = 1;; ++call) {
    const TempFolder folder;
    const os::InjectFault fault(call, ENOSPC);
    try {
      EXPECT_TRUE(make_model(folder / "m", kSmall, 1, kNeverStop));
      EXPECT_THAT(names_in(folder.path()), UnorderedElementsAre("m", "m.tokenizer"));
      if (!os::InjectFault::fired()) break;
      EXPECT_STREQ(os::InjectFault::victim(), "statvfs");  // only a courtesy
    } catch (const SystemError& error) {
      EXPECT_EQ(error.number(), ENOSPC);
      EXPECT_THAT(error.path(), HasSubstr((folder / "m").string()));
      EXPECT_THAT(names_in(folder.path()), ::testing::IsEmpty());
    }
    victims.insert(os::InjectFault::victim());
  }
  EXPECT_THAT(victims, UnorderedElementsAre("statvfs", "stat", "open", "write", "rename"));
}

}  // namespace
}  // namespace tapedeck::tests
