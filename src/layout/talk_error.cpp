// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/talk_error.hpp"

#include <string>

#include "base/amounts.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

std::string describe(const TalkNeeds& needs) {
  return "talk " + std::to_string(needs.talk) + " holds " +
         internal::count_of(needs.held, "token") + " and cannot hold " +
         std::to_string(needs.tokens) + " more";
}

std::vector<ErrorFact> facts_of(const TalkNeeds& needs) {
  return {{"talk", std::to_string(needs.talk)},
          {"tokens", std::to_string(needs.tokens)},
          {"held", std::to_string(needs.held)},
          {"room", std::to_string(needs.room)},
          {"capacity", std::to_string(needs.capacity)}};
}

}  // namespace

TalkFull::TalkFull(const TalkNeeds& needs)
    : BadAlloc(describe(needs) + ", because its plan allows " + std::to_string(needs.capacity),
               "clear the talk, or plan a longer context"),
      needs_(needs) {}

std::vector<ErrorFact> TalkFull::facts() const { return facts_of(needs_); }

NotPrepared::NotPrepared(const TalkNeeds& needs)
    : RuntimeError(describe(needs) + ", because room for only " + std::to_string(needs.room) +
                       " is prepared",
                   "call prepare(" + std::to_string(needs.tokens) +
                       ") on the talk before the pass calls advance"),
      needs_(needs) {}

std::vector<ErrorFact> NotPrepared::facts() const { return facts_of(needs_); }

}  // namespace tapedeck::inline TAPEDECK_ABI
