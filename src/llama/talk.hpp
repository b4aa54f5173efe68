// SPDX-License-Identifier: Apache-2.0
/// @file
/// The loop around a decoder, which takes a prompt and produces tokens.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

#include "llama/sampler.hpp"
#include "llama/talk_decoder.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// Called with each token of a talk except the first, in order, and with the token before it. The
/// pass that produced the token has been cleared, so a slow callback holds no scratch memory. A
/// token that ends the talk has no text. Returning false stops the talk.
using OnToken = std::function<bool(TokenId previous, TokenId token)>;

/// Called before the first pass of each phase: "prefill", in which the passes take the prompt, and
/// "decode", in which each pass takes the token that the previous one chose. The last phase ends
/// with the talk. The phases differ in the memory they use; pass their names to `PhaseScope` of
/// tapedeck::telemetry.
using OnPhase = std::function<void(std::string_view phase)>;

/// The number of positions of a talk, including the prompt's: `asked`, or `seq_len` if that is 0.
/// Only models with `Shape::longer_talks` get more than `seq_len`; others stop there, as llama2.c
/// does.
/// @throws InvalidArgument if the prompt is empty or does not fit, or for more than 2^31 - 1
/// positions.
[[nodiscard]] std::size_t positions_for(const Shape& shape, std::size_t prompt_tokens,
                                        std::size_t asked);

/// Runs the prompt through the model and continues it until the model chooses a token of `ends`,
/// the talk is full, `on_token` returns false, or `stop` is set, which is checked after each token.
/// Each pass is cleared when its token has been chosen; the caller clears the talk. Room is
/// prepared before each token, which does nothing if it is already prepared. Allocates nothing.
/// Returns the number of passes.
/// @pre the talk is empty.
/// @throws InvalidArgument if the prompt is empty or does not fit; TalkFull; TapeFull.
std::size_t hold_talk(TalkDecoder& decoder, Sampler& sampler, std::span<const TokenId> prompt,
                      std::size_t positions, std::span<const TokenId> ends,
                      const std::atomic<bool>& stop, const OnToken& on_token,
                      const OnPhase& on_phase = nullptr);

}  // namespace tapedeck::llama
