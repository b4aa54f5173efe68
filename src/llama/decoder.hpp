/// @file
/// The forward pass of a Llama model, and how an engine uses a `Layout`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "llama/device_feed.hpp"
#include "llama/llama_model.hpp"
#include "llama/step_buffers.hpp"
#include "llama/talk_decoder.hpp"
#include "llama/thread_pool.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::llama {

/// Where a decoder's buffers and its KV cache lie: on the host's side of a layout.
struct OnHost {
  using Places = Layout;
  using Conversation = Talk;
  template <class T>
  using SpanOf = HostSpan<T>;
  [[nodiscard]] static Places& side_of(Layout& layout) noexcept { return layout; }
};
/// On its first device, which is one of host memory: the host computes there.
struct OnDevice {
  using Places = DeviceLayout;
  using Conversation = DeviceTalk;
  template <class T>
  using SpanOf = DeviceSpan<T>;
  [[nodiscard]] static Places& side_of(Layout& layout) noexcept { return layout.gpu(0); }
};

/// Decodes one talk of a layout. A pass computes in the plan's decode buffers (`DecodeBuffers`), at
/// the same addresses every time. The KV cache is the plan's regions of the talk, which fill by one
/// row each token until `clear_talk()`. The decoder holds no state of its own. In steady state a
/// pass on the host makes no heap allocation and no system call but the pool's futex.
///
/// Thread-safety: the layout's writer.
///
///     Decoder decoder(model, layout, pool);
///     decoder.prepare(1);
///     std::span<float> logits = decoder.forward(kBos);
///     TokenId next = sampler.choose(logits);
///     decoder.clear_pass();
template <class Side>
class BasicDecoder final : public TalkDecoder {
 public:
  /// All arguments must outlive the decoder. `feed` has the model's weights; nullptr: the model
  /// itself has.
  /// @throws InvalidArgument where there is no such talk, or the layout's plan has no K and V of
  /// some layer, or no room for a step of this model among its decode buffers.
  BasicDecoder(const LlamaModel& model, Layout& layout, ThreadPool& pool, std::size_t talk = 0,
               DeviceFeed* feed = nullptr);

  /// Calls `ready` in the next pass before each part of the model (`LlamaModel::tensors_of`) is
  /// used: weights may be arriving while it computes. What it throws, `forward` throws, and the
  /// talk is as it was. Once a pass is through it is called no more.
  void before_parts(std::function<void(std::size_t part)> ready) { ready_ = std::move(ready); }

  /// The logits lie on scratch; the next pass writes over them.
  [[nodiscard]] std::span<float> forward(TokenId token) override;
  [[nodiscard]] std::size_t position() const override { return talk_.tokens(); }
  [[nodiscard]] const Shape& shape() const noexcept override { return shape_; }
  void prepare(std::uint64_t tokens) override { talk_.prepare(tokens); }
  void clear_pass() override { layout_.clear_pass(); }
  void clear_talk() override { layout_.clear_talk(talk_.index()); }

 private:
  void wait_for(std::size_t part) const {
    if (ready_) [[unlikely]]
      ready_(part);
  }
  [[nodiscard]] const LlamaWeights& outer() const noexcept {
    return feed_ != nullptr ? feed_->outer() : weights_;
  }
  void run_pass(TokenId token, std::size_t position);
  void run_layer(const LayerWeights& weights, std::size_t layer, std::size_t position);

  const Shape& shape_;
  const LlamaWeights& weights_;
  DeviceFeed* feed_;
  std::span<const float> frequencies_;
  Layout& layout_;
  typename Side::Places& places_;
  ThreadPool& pool_;
  typename Side::Conversation talk_;
  HostDecodeBuffers<float> planned_;  // of which the next are parts
  StepBuffers<float, HostSpan> buffers_;
  std::span<float> rotation_;  // cosine and sine of each pair of a head at this position
  std::span<float> scores_;    // [heads][positions]: of one layer, then of the next
  std::vector<LayerCache<typename Side::template SpanOf<float>>> caches_;
  std::function<void(std::size_t)> ready_;
};

extern template class BasicDecoder<OnHost>;
extern template class BasicDecoder<OnDevice>;
using Decoder = BasicDecoder<OnHost>;
using DeviceSideDecoder = BasicDecoder<OnDevice>;

}  // namespace tapedeck::llama
