/// @file
/// The loop around a decoder: a prompt goes in, tokens come out.
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

/// Called with each token of a talk but the first, in order: what went before it, and it. The pass
/// it comes of is cleared by then: however long this takes, nothing is held for it. A token that
/// ends the talk has no text. False stops the talk.
using OnToken = std::function<bool(TokenId previous, TokenId token)>;

/// Called before the first pass of a phase: of "prefill", in which the prompt goes in, and of
/// "decode", in which each pass takes the token that the last one gave. The talk's end ends the
/// last one. These differ in what memory they take; `PhaseScope` of tapedeck::telemetry takes their
/// names.
using OnPhase = std::function<void(std::string_view phase)>;

/// How many positions a talk has, the prompt's included: `asked`, or `seq_len` where that is 0.
/// More than `seq_len` are had only of a model that takes them (`Shape::longer_talks`); others stop
/// there, as llama2.c does.
/// @throws InvalidArgument where the prompt is empty, or does not fit.
[[nodiscard]] std::size_t positions_for(const Shape& shape, std::size_t prompt_tokens,
                                        std::size_t asked);

/// Runs the prompt through the model and goes on from there, until a token of `ends` comes, the
/// talk is full, or somebody stops it: `stop` is looked at after each token. Each pass is cleared
/// when its token is chosen; clearing the talk is the caller's. Room is prepared before each token,
/// which is nothing where it is there. Allocates nothing. Returns how many passes were made.
/// @pre the talk is a new one.
/// @throws InvalidArgument as `positions_for`; TalkFull; TapeFull.
std::size_t hold_talk(TalkDecoder& decoder, Sampler& sampler, std::span<const TokenId> prompt,
                      std::size_t positions, std::span<const TokenId> ends,
                      const std::atomic<bool>& stop, const OnToken& on_token,
                      const OnPhase& on_phase = nullptr);

}  // namespace tapedeck::llama
