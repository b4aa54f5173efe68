// SPDX-License-Identifier: Apache-2.0
// Standard containers on a tape: they live as long as one pass, and never touch the heap.

#include <algorithm>
#include <functional>
#include <iostream>
#include <memory_resource>
#include <string>
#include <tapedeck/tapedeck.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace tapedeck;

namespace {

// Returns the token that occurs most often. All memory of the containers comes from scratch.
int most_frequent(Tape& scratch, const std::vector<int>& tokens) {
  TapeResource on_scratch(scratch);
  std::pmr::unordered_map<int, int> counts(&on_scratch);
  for (const int token : tokens) ++counts[token];
  std::pmr::vector<std::pair<int, int>> ranked(&on_scratch);
  ranked.reserve(counts.size());
  for (const auto& [token, count] : counts) ranked.emplace_back(count, token);
  std::ranges::sort(ranked, std::greater<>());
  return ranked.front().second;
}

}  // namespace

int main() {
  Tape scratch = Tape::start(64_KiB, {.name = "scratch"});
  int token = 0;
  for (int pass = 0; pass < 100; ++pass) {
    token = most_frequent(scratch, {1, 7, 7, 3, 1, 7});
    scratch.clear();  // after the containers are gone
  }
  std::cout << "token " << token << "; the largest pass took " << to_iec(scratch.peak()) << '\n';
  return token == 7 ? 0 : 1;
}
