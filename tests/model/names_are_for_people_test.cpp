// SPDX-License-Identifier: Apache-2.0
// The `PartId` of a tensor says what it is. Only the readers of formats know how names are spelled.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "base/paths.hpp"

namespace tapedeck::tests {
namespace {

// src/model/ is the room of the readers. The others only write names.
constexpr std::array<std::string_view, 5> kMayKnowNames = {
    "src/examples/", "src/manual/", "src/model/",
    "src/plan/history_plan.cpp",     // names the caches
    "src/plan/streaming_plan.cpp"};  // an example in an error's advice

bool matches(const std::string& text, const std::regex& pattern) {
  return std::regex_search(text, pattern);
}

/// Whether a line contains a literal that is spelled like a part of a tensor's name, or a call that
/// examines a name.
bool knows_names(const std::string& line) {
  static const std::regex literals(R"re("(\\.|[^"\\])*")re");
  static const std::regex spelling(
      R"re(blk\.|layers\.|_exps|experts\.|attn_[qkv]|attn_norm|attn_output|ffn_|_proj\b)re"
      R"re(|self_attn|token_embd|lm_head)re");
  static const std::regex calls(
      R"re(\b(region|tensor|entry|parameter|rows)(\.|->)name(\[)re"
      R"re(|\.(find|rfind|starts_with|ends_with|contains|substr|compare)\())re");
  if (matches(line, calls)) return true;
  return std::any_of(std::sregex_iterator(line.begin(), line.end(), literals), {},
                     [](const std::smatch& literal) { return matches(literal.str(), spelling); });
}

/// "FILE:LINE: TEXT" for each line that knows names.
std::vector<std::string> lines_with_names(const std::filesystem::path& file) {
  std::vector<std::string> found;
  std::ifstream in(file);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.starts_with("#include")) continue;
    if (!knows_names(line.substr(0, line.find("//")))) continue;
    found.push_back(file.string() + ":" + std::to_string(number) + ": " + line);
  }
  return found;
}

TEST(NamesAreForPeople, OnlyReadersLookIntoThem) {
  const std::filesystem::path root = source_path("").parent_path().parent_path();
  std::size_t files = 0;
  for (const char* folder : {"src", "include"}) {
    for (const auto& at : std::filesystem::recursive_directory_iterator(root / folder)) {
      if (!at.is_regular_file()) continue;
      const std::string name = std::filesystem::relative(at.path(), root).generic_string();
      ++files;
      const bool may = std::any_of(kMayKnowNames.begin(), kMayKnowNames.end(),
                                   [&](std::string_view known) { return name.starts_with(known); });
      if (may) continue;
      for (const std::string& line : lines_with_names(at.path())) ADD_FAILURE() << line;
    }
  }
  EXPECT_GT(files, 100U);
}

TEST(NamesAreForPeople, TheSearchSeesParsers) {
  for (const char* line :
       {R"(if (region.name.starts_with(prefix)) {)", R"(tensor->name.find(word);)",
        R"(x = {"attn_k.", "attn_v."};)", R"(const auto id = "blk." + number;)",
        R"(if (rows.name[0] == 'v') {)"}) {
    EXPECT_TRUE(knows_names(line)) << line;
  }
  EXPECT_FALSE(knows_names(R"(throw Error(region.name + " is full");)"));
  EXPECT_FALSE(knows_names(R"({"layers", shape.layers.size()}, {"hidden", 1})"));
}

}  // namespace
}  // namespace tapedeck::tests
