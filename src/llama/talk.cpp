// SPDX-License-Identifier: Apache-2.0
#include "llama/talk.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <string>

#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

constexpr std::size_t kMostPositions = std::numeric_limits<std::int32_t>::max();

}  // namespace

std::size_t positions_for(const Shape& shape, std::size_t prompt_tokens, std::size_t asked) {
  if (prompt_tokens == 0) {
    throw InvalidArgument({.argument = "prompt", .value = 0, .limit = 1},
                          "the prompt has no tokens", "begin it with the BOS token");
  }
  const bool all = asked == 0 || (asked >= shape.seq_len && !shape.longer_talks);
  const std::size_t positions = all ? shape.seq_len : asked;
  if (positions > kMostPositions) {
    throw InvalidArgument({.argument = "positions", .value = positions, .limit = kMostPositions},
                          "a talk of " + std::to_string(positions) +
                              " positions exceeds the maximum of " + std::to_string(kMostPositions),
                          "use fewer positions");
  }
  if (prompt_tokens > positions) {
    throw InvalidArgument({.argument = "prompt", .value = prompt_tokens, .limit = positions},
                          "the prompt has " + std::to_string(prompt_tokens) + " tokens, but " +
                              (all ? "the model takes " : "the talk is limited to ") +
                              std::to_string(positions),
                          all ? "shorten it" : "shorten it, or allow more positions");
  }
  return positions;
}

std::size_t hold_talk(TalkDecoder& decoder, Sampler& sampler, std::span<const TokenId> prompt,
                      std::size_t positions, std::span<const TokenId> ends,
                      const std::atomic<bool>& stop, const OnToken& on_token,
                      const OnPhase& on_phase) {
  const std::size_t limit = positions_for(decoder.shape(), prompt.size(), positions);
  assert(decoder.position() == 0);
  TokenId token = prompt[0];
  for (std::size_t pass = 1; pass <= limit; ++pass) {
    // Each token of the prompt takes one pass.
    if (on_phase && pass == 1) on_phase("prefill");
    if (on_phase && pass == prompt.size() + 1) on_phase("decode");
    decoder.prepare(1);  // commits memory, in steps, between two passes
    const std::span<float> logits = decoder.forward(token);
    const bool forced = pass < prompt.size();
    const TokenId next = forced ? prompt[pass] : sampler.choose(logits);
    decoder.clear_pass();
    const bool go_on = on_token(token, next);
    const bool ended = std::find(ends.begin(), ends.end(), next) != ends.end();
    if (ended || !go_on || stop.load(std::memory_order_relaxed)) return pass;
    token = next;
  }
  return limit;
}

}  // namespace tapedeck::llama
