// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TalkDecoder`: the interface of a decoder to the loop around it, wherever it computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// Decodes one talk. Thread-safety: one thread at a time.
class TalkDecoder {
 public:
  virtual ~TalkDecoder() = default;

  [[nodiscard]] virtual const Shape& shape() const noexcept = 0;
  /// The number of tokens in the talk so far.
  [[nodiscard]] virtual std::size_t position() const = 0;

  /// Makes room for `tokens` more tokens. Called between two passes.
  /// @throws TalkFull if that is more than was planned.
  virtual void prepare(std::uint64_t tokens) = 0;
  /// Runs the model on one token at the next position of the talk. Returns the logits of the token
  /// after it, which the caller may modify and which are valid until the end of the pass.
  /// @pre token < shape().vocab, and `clear_pass` was called after the last pass.
  /// @throws NotPrepared or TalkFull if the talk has no room, TapeFull if scratch is too small, and
  /// errors of loading the weights. The talk is then unchanged.
  [[nodiscard]] virtual std::span<float> forward(TokenId token) = 0;
  /// Removes the last `tokens` tokens.
  virtual void rewind(std::uint64_t tokens) = 0;
  virtual void clear_pass() = 0;
  virtual void clear_talk() = 0;
};

}  // namespace tapedeck::llama
