#include "tapedeck/model/metadata.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Metadata, KeepsTheFirstOfTwoValues) {
  Metadata metadata;
  EXPECT_TRUE(metadata.add("a", std::uint64_t{1}, 24));
  EXPECT_FALSE(metadata.add("a", std::uint64_t{2}, 48));
  ASSERT_EQ(metadata.entries().size(), 1U);
  EXPECT_EQ(metadata.integer("a"), 1U);
  EXPECT_EQ(metadata.find("a")->offset, 24U);
}

TEST(Metadata, KeepsTheOrderOfTheFile) {
  Metadata metadata;
  metadata.add("b", true);
  metadata.add("a", false);
  EXPECT_EQ(metadata.entries()[0].key, "b");
  EXPECT_EQ(metadata.entries()[1].key, "a");
}

TEST(Metadata, WhatIsNotThereIsNothing) {
  const Metadata metadata;
  EXPECT_EQ(metadata.find("a"), nullptr);
  EXPECT_FALSE(metadata.has("a"));
  EXPECT_FALSE(metadata.integer("a").has_value());
  EXPECT_FALSE(metadata.real("a").has_value());
  EXPECT_FALSE(metadata.boolean("a").has_value());
  EXPECT_FALSE(metadata.string("a").has_value());
  EXPECT_THAT(metadata.integers("a"), IsEmpty());
  EXPECT_THAT(metadata.strings("a"), IsEmpty());
}

TEST(Metadata, NullIsThereButSaysNothing) {
  Metadata metadata;
  metadata.add("a", std::monostate{});
  EXPECT_NE(metadata.find("a"), nullptr);
  EXPECT_FALSE(metadata.has("a"));
  EXPECT_FALSE(metadata.integer("a").has_value());
}

TEST(Metadata, AWholeRealIsAnInteger) {
  Metadata metadata;
  metadata.add("whole", 4096.0);
  metadata.add("part", 0.5);
  metadata.add("minus", -1.0);
  metadata.add("2^64", 18446744073709551616.0);
  metadata.add("just below", 18446744073709549568.0);
  metadata.add("nan", std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(metadata.integer("whole"), 4096U);
  EXPECT_EQ(metadata.integer("just below"), 18446744073709549568U);
  for (const char* key : {"part", "minus", "2^64", "nan"}) {
    EXPECT_FALSE(metadata.integer(key).has_value()) << key;
  }
}

TEST(Metadata, EveryNumberIsReal) {
  Metadata metadata;
  metadata.add("whole", std::uint64_t{7});
  metadata.add("minus", std::int64_t{-7});
  metadata.add("text", std::string("7"));
  EXPECT_EQ(metadata.real("whole"), 7.0);
  EXPECT_EQ(metadata.real("minus"), -7.0);
  EXPECT_FALSE(metadata.integer("minus").has_value());
  EXPECT_FALSE(metadata.real("text").has_value());
}

TEST(Metadata, EachKindIsOnlyItself) {
  Metadata metadata;
  metadata.add("yes", true);
  metadata.add("text", std::string("text"));
  metadata.add("numbers", std::vector<std::int64_t>{-1, 2});
  metadata.add("words", std::vector<std::string>{"full", ""});
  EXPECT_EQ(metadata.boolean("yes"), true);
  EXPECT_EQ(metadata.string("text"), "text");
  EXPECT_THAT(metadata.integers("numbers"), ElementsAre(-1, 2));
  EXPECT_THAT(metadata.strings("words"), ElementsAre("full", ""));
  EXPECT_FALSE(metadata.integer("yes").has_value());
  EXPECT_FALSE(metadata.boolean("text").has_value());
  EXPECT_FALSE(metadata.string("yes").has_value());
  EXPECT_THAT(metadata.integers("words"), IsEmpty());
  EXPECT_THAT(metadata.strings("numbers"), IsEmpty());
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
