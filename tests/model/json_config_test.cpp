// SPDX-License-Identifier: Apache-2.0
#include "model/config/json_config.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/refusal.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {
namespace {

Metadata read(std::string_view text) {
  const TempFolder folder;
  return internal::read_json_config(folder.write("config.json", text));
}

std::optional<Refusal> refusal_of_text(std::string_view text) {
  return refusal_of([&] { return read(text); });
}

template <class T>
T value(const Metadata& metadata, std::string_view key) {
  const Metadata::Entry* const entry = metadata.find(key);
  if (entry == nullptr || !std::holds_alternative<T>(entry->value)) {
    ADD_FAILURE() << key << " is missing, or has another type";
    return T{};
  }
  return std::get<T>(entry->value);
}

TEST(JsonConfig, KeepsEveryKindOfValue) {
  const Metadata metadata = read(
      R"({"whole": 4096, "less": -1, "real": 1e-05, "yes": true, "text": "llama", "no": null})");
  EXPECT_EQ(value<std::uint64_t>(metadata, "whole"), 4096U);
  EXPECT_EQ(value<std::int64_t>(metadata, "less"), -1);
  EXPECT_EQ(value<double>(metadata, "real"), 1e-05);
  EXPECT_EQ(value<bool>(metadata, "yes"), true);
  EXPECT_EQ(value<std::string>(metadata, "text"), "llama");
  EXPECT_NE(metadata.find("no"), nullptr);
  EXPECT_FALSE(metadata.has("no"));
  EXPECT_EQ(metadata.entries().size(), 6U);
}

TEST(JsonConfig, JoinsPathsByDots) {
  const Metadata metadata =
      read(R"({"text_config": {"rope": {"theta": 5}, "n": 1}, "vision": {"n": 2}, "n": 3})");
  EXPECT_EQ(metadata.integer("text_config.rope.theta"), 5U);
  EXPECT_EQ(metadata.integer("text_config.n"), 1U);
  EXPECT_EQ(metadata.integer("vision.n"), 2U);
  EXPECT_EQ(metadata.integer("n"), 3U);
}

TEST(JsonConfig, KeepsListsOfOneKind) {
  const Metadata metadata =
      read(R"({"numbers": [0, -4, 128], "reals": [1, 2.5], "flags": [true, false],)"
           R"( "words": ["conv", "full_attention"], "none": [], "mixed": [1, "a"]})");
  using Numbers = std::vector<std::int64_t>;
  EXPECT_EQ(value<Numbers>(metadata, "numbers"), (Numbers{0, -4, 128}));
  EXPECT_EQ(value<std::vector<double>>(metadata, "reals"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(value<Numbers>(metadata, "flags"), (Numbers{1, 0}));
  EXPECT_EQ(value<std::vector<std::string>>(metadata, "words"),
            (std::vector<std::string>{"conv", "full_attention"}));
  EXPECT_EQ(value<Numbers>(metadata, "none"), Numbers{});
  EXPECT_EQ(value<Metadata::Omitted>(metadata, "mixed").count, 2U);
}

TEST(JsonConfig, NumbersTheElementsOfListsOfObjects) {
  const Metadata metadata =
      read(R"({"blocks": [{"ffn": {"mult": 2.5}}, {"skip": true}, [7, 8]], "after": 1})");
  EXPECT_EQ(metadata.real("blocks.0.ffn.mult"), 2.5);
  EXPECT_EQ(metadata.boolean("blocks.1.skip"), true);
  EXPECT_EQ(metadata.integers("blocks.2").size(), 2U);
  EXPECT_EQ(metadata.integer("after"), 1U);
  EXPECT_EQ(metadata.entries().size(), 4U);
}

TEST(JsonConfig, CountsLongListsAndKeepsThemNot) {
  std::string text = R"({"list": [0)";
  for (std::size_t i = 0; i < Metadata::kLongestArray; ++i) text += ",0";
  const Metadata metadata = read(text + "]}");
  EXPECT_EQ(value<Metadata::Omitted>(metadata, "list").count, Metadata::kLongestArray + 1);
}

TEST(JsonConfig, SaysWhereAnEntryStarts) {
  const std::string text = "\n{ \"a\": 1,\r\n  \"list\": [1, 2],\n  \"inner\": {\"b\": true} }\n";
  const Metadata metadata = read(text);
  for (const Metadata::Entry& entry : metadata.entries()) {
    const std::string key = entry.key.substr(entry.key.rfind('.') + 1);
    EXPECT_EQ(entry.offset, text.find('"' + key + '"')) << entry.key;
  }
  EXPECT_EQ(metadata.entries().size(), 3U);
}

// As in Python's json.
TEST(JsonConfig, TheLastOfSeveralValuesCounts) {
  const Metadata metadata =
      read(R"({"n": 1, "o": {"a": 1, "b": 2}, "od": 5, "n": 2, "o": {"b": 3}})");
  EXPECT_EQ(metadata.integer("n"), 2U);
  EXPECT_FALSE(metadata.has("o.a"));
  EXPECT_EQ(metadata.integer("o.b"), 3U);
  EXPECT_EQ(metadata.integer("od"), 5U);
}

// As Python writes them.
TEST(JsonConfig, TakesInfinityAndNaN) {
  const Metadata metadata =
      read(R"({"limit": [0.0, Infinity], "a": -Infinity, "b": NaN, "c": "NaN \" NaN", "d": 7})");
  EXPECT_TRUE(metadata.has("limit"));
  EXPECT_FALSE(metadata.real("a"));
  EXPECT_FALSE(metadata.real("b"));
  EXPECT_EQ(metadata.string("c"), "NaN \" NaN");
  EXPECT_EQ(metadata.integer("d"), 7U);
}

TEST(JsonConfig, RefusesWhatIsNoJson) {
  for (const auto& [text, offset] :
       std::vector<std::pair<std::string, std::uint64_t>>{{"", 0},
                                                          {R"({"a": 1)", 7},
                                                          {R"({"a": x})", 6},
                                                          {R"({"a": 1} 2)", 9},
                                                          {"{\"a\": \"\xff\"}", 7}}) {
    EXPECT_EQ(refusal_of_text(text), (Refusal{offset, "", FormatFault::malformed})) << text;
  }
  for (const char* text : {"[1]", "42"}) {
    EXPECT_EQ(refusal_of_text(text), (Refusal{0, "", FormatFault::wrong_type})) << text;
  }
}

TEST(JsonConfig, RefusesWhatIsBeyondItsLimits) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += R"({"a":)";
  std::string many = "{";
  for (std::size_t i = 0; i <= internal::kMostConfigEntries; ++i) {
    many += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  }
  std::string repeated = R"({"a": 0)";
  for (std::size_t i = 0; i <= internal::kMostConfigRepeats; ++i) repeated += R"(,"a":0)";
  const std::string last = ",\"" + std::to_string(internal::kMostConfigEntries) + '"';
  for (const auto& [text, offset] :
       std::vector<std::pair<std::string, std::uint64_t>>{{deep, internal::kMostConfigDepth * 5},
                                                          {many + "}", many.find(last) + 1},
                                                          {repeated + "}", repeated.size() - 5}}) {
    EXPECT_EQ(refusal_of_text(text), (Refusal{offset, "", FormatFault::out_of_range}));
  }
}

TEST(JsonConfig, RefusesALongFileBeforeItIsRead) {
  const TempFolder folder;
  const auto path = folder.write("config.json", "{");
  std::filesystem::resize_file(path, internal::kMostConfigBytes + 1);  // as a sparse file
  EXPECT_EQ(refusal_of([&] { return internal::read_json_config(path); }),
            (Refusal{internal::kMostConfigBytes, "", FormatFault::out_of_range}));
}

}  // namespace
}  // namespace tapedeck::tests
