/// @file
/// `StreamedLlama`: a Llama model, its talk and its buffers on one device, within the memory it may
/// use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "llama/device_model.hpp"
#include "llama/llama_model.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/layout/layer_streamer.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::llama {

struct StreamedLlamaOptions {
  std::size_t positions = 0;              ///< Of the talk; 0: as many as the model is made for.
  std::optional<std::uint64_t> memory{};  ///< Bytes it may use; nothing: what is free.
  DType element = DType::f32;             ///< Of activations and the KV cache.
  std::uint64_t slots = 2;                ///< For layers that do not stay.
  LayerStreamerOptions source{};
};

/// What a decoder on a device needs: a layout whose first device has the plan's tapes, and the
/// weights. As many layers stay on the device as its memory holds beside the talk and the buffers;
/// the others are streamed. Thread-safety: as `Layout` and `DeviceModel`.
class StreamedLlama {
 public:
  /// The model and the device outlive it. Nothing is left behind on an error.
  /// @throws OutOfMemory where not even two slots fit; as `Layout` and `LayerStreamer`.
  StreamedLlama(const LlamaModel& model, Device& device, const StreamedLlamaOptions& options = {});

  [[nodiscard]] Layout& layout() noexcept { return layout_; }
  [[nodiscard]] DeviceModel& weights() noexcept { return weights_; }
  [[nodiscard]] const StreamingPlan& streaming() const noexcept {
    return weights_.streamer().plan();
  }

 private:
  StreamedLlama(const LlamaModel& model, Device& device, const StreamedLlamaOptions& options,
                StreamingPlan streaming);

  Layout layout_;
  DeviceModel weights_;
};

}  // namespace tapedeck::llama
