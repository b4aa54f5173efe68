/// @file
/// `DeviceFeed`: weights on a device that the host computes with.
#pragma once

#include <cstddef>

#include "llama/device_model.hpp"
#include "llama/llama_weights.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_stream.hpp"

namespace tapedeck::llama {

/// For a `HostDevice`, or a stand-in of one. Here, and only here, the host waits for the copies.
/// Thread-safety: the decoder's thread.
class DeviceFeed {
 public:
  /// Both outlive it. @throws DeviceError
  DeviceFeed(DeviceModel& model, Device& device) : model_(model), stream_(device) {}

  /// What is of no layer.
  [[nodiscard]] const LlamaWeights& outer() const noexcept { return model_.outer(); }
  /// A layer's, until it is released. @throws as `LayerStreamer::acquire`.
  [[nodiscard]] const LayerWeights& acquire(std::size_t layer) {
    layer_ = model_.acquire(layer, stream_.handle());
    stream_.synchronize();
    return layer_;
  }
  void release(std::size_t layer) { model_.release(layer, stream_.handle()); }

 private:
  DeviceModel& model_;
  DeviceStream stream_;
  LayerWeights layer_;
};

}  // namespace tapedeck::llama
