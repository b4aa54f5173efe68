/// @file
/// `TalkDecoder`: what a loop around a decoder needs of it, wherever it computes.
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
  /// Tokens of the talk so far.
  [[nodiscard]] virtual std::size_t position() const = 0;

  /// Makes room for tokens, between two passes. @throws TalkFull beyond what was planned.
  virtual void prepare(std::uint64_t tokens) = 0;
  /// Runs the model over one token, at the next position of the talk. The logits of the token that
  /// follows are the caller's, until the end of the pass.
  /// @pre token < shape().vocab, and the last pass was ended.
  /// @throws NotPrepared or TalkFull when the talk has no room, TapeFull when scratch is too small,
  /// and whatever bringing in the weights throws; the talk is as it was.
  [[nodiscard]] virtual std::span<float> forward(TokenId token) = 0;
  /// Takes back the last tokens.
  virtual void rewind(std::uint64_t tokens) = 0;
  virtual void clear_pass() = 0;
  virtual void clear_talk() = 0;
};

}  // namespace tapedeck::llama
