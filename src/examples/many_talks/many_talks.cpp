// SPDX-License-Identifier: Apache-2.0
// A server with many talks: conversations come and go, and share one budget.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <tapedeck/tapedeck.hpp>
#include <vector>

using namespace tapedeck;

namespace {

constexpr std::size_t kTalks = 8;
constexpr std::uint64_t kMostTokens = 4096;
constexpr std::size_t kTokenBytes = 1024;

// A real server plans a model, as in engine_with_plan.cpp. Here, one cache is enough.
Plan plan_of_one_cache() {
  Plan plan;
  plan.talks = kTalks;
  plan.history.append({.name = "layers.0.k",
                       .role = RegionRole::kv,
                       .bytes = kMostTokens * kTokenBytes,
                       .alignment = 4096,
                       .growth = {.bytes_per_token = kTokenBytes, .capacity = kMostTokens}});
  return plan;
}

// Generates tokens. Returns false, and leaves the talk as it was, if the budget has no room.
bool generate(Layout& layout, Talk& talk, std::uint64_t tokens) {
  try {
    talk.prepare(tokens);
  } catch (const OutOfMemory& error) {
    std::cout << "talk " << talk.index() << " waits: " << error.what() << '\n';
    return false;
  }
  const Region& keys = layout.plan().history.at("layers.0.k");
  for (std::uint64_t i = 0; i < tokens; ++i) {
    talk.row(keys, talk.advance()).front() = std::byte{1};
    layout.clear_pass();
  }
  return true;
}

void serve() {
  // The addresses of all talks cost nothing. Together, the talks may commit 8 MiB, which is a
  // quarter of what is planned.
  Layout layout(plan_of_one_cache(), {.commit = Commit::with_talks, .history_budget = 8_MiB});
  std::vector<Talk> waiting;
  for (std::size_t i = 0; i < kTalks; ++i) {
    Talk talk = layout.talk(i);
    if (!generate(layout, talk, 1500)) waiting.push_back(talk);
  }
  std::cout << layout.stat() << '\n';

  // A user leaves. The slot is free, and its pages serve a talk that waits.
  layout.talk(0).close();
  for (Talk& talk : waiting) {
    if (!generate(layout, talk, 1500)) break;
    std::cout << "talk " << talk.index() << " continues and has " << talk.tokens() << " tokens\n";
  }

  // A draft of four tokens, of which the last two were rejected.
  Talk newcomer = layout.open_talk();
  if (generate(layout, newcomer, 4)) newcomer.rewind(2);
  std::cout << "talk " << newcomer.index() << " has " << newcomer.tokens() << " tokens\n";
}

}  // namespace

int main() {
  try {
    serve();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
