/// @file
/// `DeviceModel`: a Llama model's weights on a device, all of them or layer by layer.
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

/// The weights of a model where a device computes with them: the spans of its `LayerWeights` are
/// addresses of the device. Layers that do not stay there come through the slots of a
/// `LayerStreamer`.
///
/// Thread-safety: one thread at a time.
///
///     LayerWeights layer = weights.acquire(7, stream);  // and the next one is on its way
///     ... put on `stream` what computes with it
///     weights.release(7, stream);
class DeviceModel {
 public:
  /// Brings to `place` what stays on the device. The model outlives this object, and its weights
  /// are there: mapped, or warm.
  /// @param plan  `plan_streaming` of `model_to_plan(model)`.
  /// @throws as `LayerStreamer`.
  DeviceModel(const LlamaModel& model, Device& device, StreamingPlan plan,
              DeviceSpan<std::byte> place, const LayerStreamerOptions& options = {});

  /// What is of no layer; `layers` is empty.
  [[nodiscard]] const LlamaWeights& outer() const noexcept { return outer_; }
  [[nodiscard]] std::size_t layers() const noexcept { return layers_.size(); }

  /// A layer for what is put on `stream` from now on. Begins to copy the next one that does not
  /// stay. @throws as `LayerStreamer::acquire`.
  [[nodiscard]] LayerWeights acquire(std::size_t layer, StreamHandle stream);
  void release(std::size_t layer, StreamHandle stream) { streamer_.release(layer, stream); }

  [[nodiscard]] const LayerStreamer& streamer() const noexcept { return streamer_; }

 private:
  /// Where the arrays of a layer lie in it, in the order of `layer_arrays`.
  using Offsets = std::vector<std::uint64_t>;

  void find_layers();
  void begin_next(std::size_t layer);

  const LlamaModel& model_;
  LayerStreamer streamer_;
  LlamaWeights outer_;
  std::vector<Offsets> layers_;
};

}  // namespace tapedeck::llama
