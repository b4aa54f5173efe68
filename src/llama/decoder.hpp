// SPDX-License-Identifier: Apache-2.0
/// @file
/// `BasicDecoder`: the forward pass of a Llama model, and an example of how an engine uses a
/// `Layout`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "llama/device_model.hpp"
#include "llama/llama_model.hpp"
#include "llama/step_buffers.hpp"
#include "llama/talk_decoder.hpp"
#include "llama/thread_pool.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/layout/device_layout.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::llama {

/// Decodes one talk of a layout. A pass computes in the plan's decode buffers (`DecodeBuffers`), at
/// the same addresses every time. The KV cache is the talk's regions of the plan, which grow by one
/// row per token until `clear_talk()`. The decoder has no state of its own. In steady state a pass
/// on the host makes no heap allocation, and no system call except the pool's futex.
///
/// Thread-safety: used by the layout's writer thread.
///
///     Decoder decoder(model, layout, pool);
///     decoder.prepare(1);
///     std::span<float> logits = decoder.forward(kBos);
///     TokenId next = sampler.choose(logits);
///     decoder.clear_pass();
///
/// @tparam Places  where the buffers and the KV cache are: `Layout` for the host, or `DeviceLayout`
/// for the layout's first device, which must be made of host memory.
template <class Places>
class BasicDecoder final : public TalkDecoder {
 public:
  /// All arguments must outlive the decoder.
  /// @param on_device  the model's weights on the first device, which is a `HostDevice` or a
  /// stand-in for one; nullptr uses the model's own weights.
  /// @throws InvalidArgument if the layout has no such talk, if its plan lacks the K or V cache of
  /// a layer, or if its decode buffers are too small for this model; DeviceError.
  BasicDecoder(const LlamaModel& model, Layout& layout, ThreadPool& pool, std::size_t talk = 0,
               DeviceModel* on_device = nullptr);

  /// Makes the next pass call `ready` before it uses each part of the model
  /// (`LlamaModel::tensors_of`), so that it can compute while weights are still loading. If `ready`
  /// throws, `forward` throws the same, and the talk is unchanged. After one complete pass, `ready`
  /// is not called again.
  void before_parts(std::function<void(std::size_t part)> ready) { ready_ = std::move(ready); }

  /// The logits are in scratch memory; the next pass overwrites them.
  [[nodiscard]] std::span<float> forward(TokenId token) override;
  [[nodiscard]] std::size_t position() const override { return talk_.tokens(); }
  [[nodiscard]] const Shape& shape() const noexcept override { return model_.shape(); }
  void prepare(std::uint64_t tokens) override { talk_.prepare(tokens); }
  void rewind(std::uint64_t tokens) override { talk_.rewind(tokens); }
  void clear_pass() override { layout_.clear_pass(); }
  void clear_talk() override { layout_.clear_talk(talk_.index()); }

 private:
  [[nodiscard]] static Places& places_of(Layout& layout) {
    if constexpr (std::is_same_v<Places, Layout>) {
      return layout;
    } else {
      return layout.gpu(0);
    }
  }
  void wait_for(std::size_t part) const {
    if (ready_) [[unlikely]]
      ready_(part);
  }
  void run_pass(TokenId token, std::size_t position);
  void run_layer(std::size_t layer, std::size_t position);
  void run_layer(const LayerWeights& weights, std::size_t layer, std::size_t position);

  const LlamaModel& model_;
  DeviceModel* on_device_;
  std::optional<DeviceStream> copies_;  // only if the weights are on the device
  Layout& layout_;
  ThreadPool& pool_;
  decltype(std::declval<Places&>().talk(0)) talk_;
  // rope_q_temp holds the cosine and sine of each pair of a head at the current position; scores
  // holds those of the current layer, [heads][positions].
  HostDecodeBuffers<float> buffers_;
  std::vector<LayerCache<typename Places::template SpanOf<float>>> caches_;
  std::function<void(std::size_t)> ready_;
};

extern template class BasicDecoder<Layout>;
extern template class BasicDecoder<DeviceLayout>;
using Decoder = BasicDecoder<Layout>;
using DeviceSideDecoder = BasicDecoder<DeviceLayout>;

}  // namespace tapedeck::llama
