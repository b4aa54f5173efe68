/// @file
/// The forward pass of a Llama model, and how an engine uses a `Layout`.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "engine/llama_model.hpp"
#include "engine/takes.hpp"
#include "engine/thread_pool.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

/// Decodes one talk of a layout. What a pass computes in are the plan's decode buffers
/// (`DecodeBuffers`), at the same addresses in every pass; what grows with the talk is taken from
/// `scratch()`, until `clear_pass()`. The KV
/// cache is the plan's regions of the talk, "layers.N.k" and "layers.N.v", which fill by one row
/// each token until `clear_talk()`. The decoder holds no state of its own, so those two calls are
/// its whole lifecycle too. In steady state a pass makes no heap allocation and no system call but
/// the pool's futex.
///
/// Thread-safety: the layout's writer.
///
///     Decoder decoder(model, layout, pool);
///     layout.prepare(0, 1);
///     std::span<float> logits = decoder.forward(kBos);
///     TokenId next = sampler.choose(logits);
///     layout.clear_pass();
class Decoder {
 public:
  /// All arguments must outlive the decoder.
  /// @pre talk < layout.talks()
  /// @throws InvalidArgument where the layout's plan has no K and V of some layer, or no room for a
  /// step of this model among its decode buffers.
  Decoder(const LlamaModel& model, Layout& layout, ThreadPool& pool, std::size_t talk = 0);

  /// Calls `ready` in the next pass before each part of the model (`LlamaModel::tensors_of`) is
  /// used: weights may be arriving while it computes. What it throws, `forward` throws, and the
  /// talk is as it was. Once a pass is through it is called no more.
  void before_parts(std::function<void(std::size_t part)> ready) { ready_ = std::move(ready); }

  /// Runs the model over one token, at the next position of the talk. The logits of the token that
  /// follows lie on scratch, until `layout.clear_pass()`; the next pass writes over them.
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
  /// What the steps of a pass write, of exactly the size they write.
  struct Buffers {
    std::span<float> hidden;  ///< The residual stream.
    std::span<float> normed;
    std::span<float> query;
    std::span<float> mixed;  ///< Values, weighted by the scores.
    std::span<float> attention_out;
    std::span<float> gate;
    std::span<float> up;
    std::span<float> ffn_out;
    std::span<float> final_normed;
    std::span<float> logits;
  };
  /// [position][key_dim], and [position][value_dim].
  struct Cache {
    std::span<float> keys;
    std::span<float> values;
  };

  void wait_for(std::size_t part) const {
    if (ready_) [[unlikely]]
      ready_(part);
  }
  void find_buffers();
  void find_caches();
  void run_layer(std::size_t layer, const Pass& pass);

  const Shape& shape_;
  const LlamaWeights& weights_;
  std::span<const float> frequencies_;
  Layout& layout_;
  ThreadPool& pool_;
  std::size_t talk_;
  Buffers buffers_;
  std::vector<Cache> caches_;  // by layer
  std::function<void(std::size_t)> ready_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
