#include "model/config/json_config.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

Metadata read(std::string_view text) {
  const TempFolder folder;
  return internal::read_json_config(folder.write("config.json", text));
}

/// The byte at which a text is refused; what the error says is checked for `fault`.
std::uint64_t refused_at(std::string_view text, const std::string& fault) {
  try {
    static_cast<void>(read(text));
  } catch (const FormatError& error) {
    EXPECT_NE(std::string(error.what()).find(fault), std::string::npos) << error.what();
    EXPECT_TRUE(error.path().ends_with("config.json")) << error.path();
    return error.offset();
  }
  ADD_FAILURE() << "taken: " << text.substr(0, 100);
  return 0;
}

template <class T>
T value(const Metadata& metadata, std::string_view key) {
  const Metadata::Entry* const entry = metadata.find(key);
  if (entry == nullptr || !std::holds_alternative<T>(entry->value)) {
    ADD_FAILURE() << key << " is not there, or of another kind";
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

// As Python's json does.
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
  EXPECT_EQ(refused_at("", "no JSON"), 0U);
  EXPECT_EQ(refused_at(R"({"a": 1)", "no JSON"), 7U);
  EXPECT_EQ(refused_at(R"({"a": x})", "no JSON"), 6U);
  EXPECT_EQ(refused_at(R"({"a": 1} 2)", "no JSON"), 9U);
  EXPECT_EQ(refused_at("{\"a\": \"\xff\"}", "no JSON"), 7U);
  EXPECT_EQ(refused_at("[1]", "no JSON object"), 0U);
  EXPECT_EQ(refused_at("42", "no JSON object"), 0U);
}

TEST(JsonConfig, RefusesWhatIsBeyondItsLimits) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += R"({"a":)";
  EXPECT_GT(refused_at(deep, "deep"), internal::kMostConfigDepth);

  std::string many = "{";
  for (std::size_t i = 0; i <= internal::kMostConfigEntries; ++i) {
    many += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  }
  EXPECT_GT(refused_at(many + "}", "entries"), internal::kMostConfigEntries);

  std::string repeated = R"({"a": 0)";
  for (std::size_t i = 0; i <= internal::kMostConfigRepeats; ++i) repeated += R"(,"a":0)";
  EXPECT_GT(refused_at(repeated + "}", "repeated"), internal::kMostConfigRepeats);
}

TEST(JsonConfig, RefusesALongFileBeforeItIsRead) {
  const TempFolder folder;
  const auto path = folder.write("config.json", "{");
  std::filesystem::resize_file(path, internal::kMostConfigBytes + 1);  // with a hole
  EXPECT_THROW(static_cast<void>(internal::read_json_config(path)), FormatError);
}

TEST(JsonConfig, MissingFilesAreTheSystemsError) {
  EXPECT_THROW(static_cast<void>(internal::read_json_config("no/such/config.json")), SystemError);
}

}  // namespace
}  // namespace tapedeck::tests
