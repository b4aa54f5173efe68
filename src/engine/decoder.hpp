/// @file
/// The forward pass of a Llama model, and how an engine uses a `Layout`.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/shape.hpp"
#include "engine/takes.hpp"
#include "engine/thread_pool.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

/// Decodes one talk of a layout. Temporaries live on `scratch()`: a layer's until its `TapeScope`
/// ends, so that all layers compute in the same lines, the others until `clear_pass()`. The KV
/// cache is the plan's regions of the talk, "layers.N.k" and "layers.N.v", which fill by one row
/// each token until `clear_talk()`. The decoder holds no state of its own, so those two calls are
/// its whole lifecycle too. In steady state a pass makes no heap allocation and no system call but
/// the pool's futex.
///
/// Thread-safety: the layout's writer.
///
///     Decoder decoder(checkpoint.shape(), checkpoint.load(layout), layout, pool);
///     layout.prepare(0, 1);
///     std::span<float> logits = decoder.forward(kBos);
///     TokenId next = sampler.choose(logits);
///     layout.clear_pass();
class Decoder {
 public:
  /// All arguments but the shape and the spans must outlive the decoder.
  /// @pre talk < layout.talks()
  /// @throws InvalidArgument where the layout's plan has no K and V of some layer.
  Decoder(const Shape& shape, const Weights& weights, Layout& layout, ThreadPool& pool,
          std::size_t talk = 0);

  /// Runs the model over one token, at the next position of the talk. The logits of the token that
  /// follows lie on scratch, until `layout.clear_pass()`.
  /// @pre token < shape().vocab, and scratch was cleared since the last pass.
  /// @throws TapeFull when the talk has no room prepared, or scratch is too small; the talk is as
  /// it was.
  [[nodiscard]] std::span<float> forward(TokenId token);

  /// Tokens of this talk so far.
  [[nodiscard]] std::size_t position() const noexcept;

  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] Layout& layout() const noexcept { return layout_; }
  [[nodiscard]] std::size_t talk() const noexcept { return talk_; }

 private:
  struct Pass;
  /// [position][kv_dim] each.
  struct Cache {
    std::span<float> keys;
    std::span<float> values;
  };

  void run_layer(std::size_t layer, const Pass& pass);

  Shape shape_;
  Weights weights_;
  Layout& layout_;
  ThreadPool& pool_;
  std::size_t talk_;
  std::vector<Cache> caches_;  // by layer
};

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
