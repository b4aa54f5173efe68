// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DeviceModel`: a Llama model's weights on a device, either all at once or layer by layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "llama/llama_model.hpp"
#include "llama/llama_weights.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/layout/layer_streamer.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::llama {

/// The weights of a model in a device's memory: the spans of its `LayerWeights` are device
/// addresses. Layers that are not resident on the device are streamed through the slots of a
/// `LayerStreamer`.
///
/// Thread-safety: one thread at a time.
///
///     LayerWeights layer = weights.acquire(7, stream);  // also starts to copy the next layer
///     ... launch the kernels that use it on `stream`
///     weights.release(7, stream);
class DeviceModel {
 public:
  /// Copies the resident weights to `place`. The model must outlive this object, and its weights
  /// must be mapped or warm.
  /// @param plan  `plan_streaming` of `model_to_plan(model)`.
  /// @throws InvalidArgument if `plan` is of another model; the errors of `LayerStreamer`.
  DeviceModel(const LlamaModel& model, Device& device, StreamingPlan plan,
              DeviceSpan<std::byte> place, const LayerStreamerOptions& options = {});

  /// The weights outside the layers; `layers` is empty.
  [[nodiscard]] const LlamaWeights& outer() const noexcept { return outer_; }
  [[nodiscard]] std::size_t layers() const noexcept { return layers_.size(); }

  /// Returns a layer for kernels launched on `stream` from now on, and starts to copy the next
  /// layer that is not resident. @throws the errors of `LayerStreamer::acquire`.
  [[nodiscard]] LayerWeights acquire(std::size_t layer, StreamHandle stream);
  void release(std::size_t layer, StreamHandle stream) { streamer_.release(layer, stream); }

  [[nodiscard]] const LayerStreamer& streamer() const noexcept { return streamer_; }

 private:
  /// The offsets of a layer's arrays within the layer, in the order of `layer_arrays`.
  using Offsets = std::vector<std::uint64_t>;

  void find_layers();
  void begin_next(std::size_t layer);

  const LlamaModel& model_;
  LayerStreamer streamer_;
  LlamaWeights outer_;
  std::vector<Offsets> layers_;
};

}  // namespace tapedeck::llama
