// SPDX-License-Identifier: Apache-2.0
/// @file
/// `StreamedLlama`: a Llama model, its talk and its buffers on one device, within a memory limit.
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
  std::size_t positions = 0;              ///< Length of the talk; 0 means the model's own context.
  std::optional<std::uint64_t> memory{};  ///< Most bytes to use; by default, all that is free.
  DType element = DType::f32;             ///< The type of activations and the KV cache.
  std::uint64_t slots = 2;                ///< Slots for layers that are not resident.
  LayerStreamerOptions source{};
};

/// What a decoder on a device needs: a layout whose first device has the plan's tapes, and the
/// weights. As many layers are resident on the device as fit beside the talk and the buffers; the
/// others are streamed. Thread-safety: that of `Layout` and `DeviceModel`.
class StreamedLlama {
 public:
  /// The model and the device must outlive this object. On an error, all memory is released.
  /// @throws OutOfMemory if not even the slots fit; the errors of `Layout` and `LayerStreamer`.
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
