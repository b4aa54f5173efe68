/// @file
/// `LayerFeed`: where a decoder gets the weights of the layer that it computes.
#pragma once

#include <cstddef>

#include "llama/device_model.hpp"
#include "llama/llama_model.hpp"
#include "llama/llama_weights.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_stream.hpp"

namespace tapedeck::llama {

/// Thread-safety: the decoder's thread.
class LayerFeed {
 public:
  virtual ~LayerFeed() = default;

  /// What is of no layer.
  [[nodiscard]] virtual const LlamaWeights& outer() const noexcept = 0;
  /// A layer's, until it is released.
  [[nodiscard]] virtual const LayerWeights& acquire(std::size_t layer) = 0;
  virtual void release(std::size_t layer) = 0;
};

/// Weights where the model has them: all are there.
class HostFeed final : public LayerFeed {
 public:
  /// The model outlives it.
  explicit HostFeed(const LlamaModel& model) : weights_(model.arrays()) {}

  [[nodiscard]] const LlamaWeights& outer() const noexcept override { return weights_; }
  [[nodiscard]] const LayerWeights& acquire(std::size_t layer) override {
    return weights_.layers[layer];
  }
  void release(std::size_t /*layer*/) override {}

 private:
  const LlamaWeights& weights_;
};

/// Weights on a device that the host computes with: a `HostDevice`, or a stand-in of one. Here, and
/// only here, the host waits for the copies.
class DeviceFeed final : public LayerFeed {
 public:
  /// Both outlive it. @throws DeviceError
  DeviceFeed(DeviceModel& model, Device& device) : model_(model), stream_(device) {}

  [[nodiscard]] const LlamaWeights& outer() const noexcept override { return model_.outer(); }
  /// @throws as `LayerStreamer::acquire`.
  [[nodiscard]] const LayerWeights& acquire(std::size_t layer) override {
    layer_ = model_.acquire(layer, stream_.handle());
    stream_.synchronize();
    return layer_;
  }
  void release(std::size_t layer) override { model_.release(layer, stream_.handle()); }

 private:
  DeviceModel& model_;
  DeviceStream stream_;
  LayerWeights layer_;
};

}  // namespace tapedeck::llama
