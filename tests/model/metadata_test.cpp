// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/metadata.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;

TEST(Metadata, KeepsTheFirstOfTwoValuesInTheOrderOfTheFile) {
  Metadata metadata;
  EXPECT_TRUE(metadata.add("b", std::uint64_t{1}, 24));
  EXPECT_TRUE(metadata.add("a", false));
  EXPECT_FALSE(metadata.add("b", std::uint64_t{2}, 48));
  ASSERT_EQ(metadata.entries().size(), 2U);
  EXPECT_EQ(metadata.entries()[0].key, "b");
  EXPECT_EQ(metadata.entries()[1].key, "a");
  EXPECT_EQ(metadata.integer("b"), 1U);
  EXPECT_EQ(metadata.find("b")->offset, 24U);
}

TEST(Metadata, EachKindIsOnlyItself) {
  Metadata metadata;
  metadata.add("null", std::monostate{});
  metadata.add("yes", true);
  metadata.add("text", std::string("text"));
  metadata.add("numbers", std::vector<std::int64_t>{-1, 2});
  metadata.add("words", std::vector<std::string>{"full", ""});
  EXPECT_EQ(metadata.boolean("yes"), true);
  EXPECT_EQ(metadata.string("text"), "text");
  EXPECT_THAT(metadata.integers("numbers"), ElementsAre(-1, 2));
  EXPECT_THAT(metadata.strings("words"), ElementsAre("full", ""));
  EXPECT_EQ(metadata.find("missing"), nullptr);
  EXPECT_NE(metadata.find("null"), nullptr);
  for (const std::string key : {"missing", "null", "yes", "text", "numbers", "words"}) {
    SCOPED_TRACE(key);
    EXPECT_EQ(metadata.has(key), key != "missing" && key != "null");
    EXPECT_FALSE(metadata.integer(key));
    EXPECT_FALSE(metadata.real(key));
    EXPECT_EQ(metadata.boolean(key).has_value(), key == "yes");
    EXPECT_EQ(metadata.string(key).has_value(), key == "text");
    EXPECT_EQ(metadata.integers(key).empty(), key != "numbers");
    EXPECT_EQ(metadata.strings(key).empty(), key != "words");
  }
}

TEST(Metadata, EveryNumberIsRealAndAWholeOneIsAnInteger) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::pair<Metadata::Value, std::optional<std::uint64_t>>> numbers = {
      {std::uint64_t{7}, 7U},
      {std::int64_t{-7}, std::nullopt},
      {4096.0, 4096U},
      {0.5, std::nullopt},
      {-1.0, std::nullopt},
      {kNan, std::nullopt},
      {18446744073709551616.0, std::nullopt},             // 2^64
      {18446744073709549568.0, 18446744073709549568ULL},  // the largest double below 2^64
  };
  for (const auto& [value, integer] : numbers) {
    Metadata metadata;
    metadata.add("n", value);
    EXPECT_EQ(metadata.integer("n"), integer);
    EXPECT_TRUE(metadata.real("n"));
  }
  Metadata metadata;
  metadata.add("minus", std::int64_t{-7});
  EXPECT_EQ(metadata.real("minus"), -7.0);
}

TEST(Metadata, ACopyFindsItsOwnEntries) {
  Metadata metadata;
  metadata.add("a", std::string("text"));
  const Metadata copy = metadata;
  EXPECT_EQ(copy.find("a"), copy.entries().data());
  metadata = Metadata();
  EXPECT_EQ(copy.string("a"), "text");
}

}  // namespace
}  // namespace tapedeck::tests
