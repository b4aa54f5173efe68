// SPDX-License-Identifier: Apache-2.0
/// @file
/// `LayerStreamer`: streams the layers of a model through a few slots on a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/model/tensor_directory.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// How the weights get from the host's memory to the device.
enum class StreamSource : std::uint8_t {
  automatic,  ///< Like `pin`, or like `staged` if pinning fails or would exceed `pin_at_most`.
  pin,        ///< The streamer pins the weights in place for its lifetime and copies from there.
  pinned,     ///< The caller has already pinned the weights, which is not checked.
  staged,     ///< A thread of the streamer copies the weights through a ring of pinned buffers.
};

struct LayerStreamerOptions {
  StreamSource source = StreamSource::automatic;
  std::uint64_t pin_at_most = std::numeric_limits<std::uint64_t>::max();  ///< Bytes.
};

/// What a streamer has done so far. Thread-safety: a value.
struct LayerStreamerStat {
  std::uint64_t copies = 0;        ///< Copies of a layer, or of experts of a layer, into a slot.
  std::uint64_t copied_bytes = 0;  ///< Includes padding between tensors.
  std::uint64_t copy_calls = 0;    ///< 1 for each copied layer that is contiguous in memory.
  std::uint64_t in_time = 0;       ///< Layers whose copy had begun before they were acquired.
  std::uint64_t late = 0;          ///< Layers whose copy was begun by `acquire`.
};

/// Streams a model's layers to a device that does not have enough memory for all of them. The
/// weights stay on the host. The device holds the tensors that belong to no layer, the layers that
/// stay, and slots in which the other layers take turns. Their addresses never change, so kernels
/// that read a slot can be captured in a graph.
///
/// For each layer, `acquire` makes the computing stream wait for the copy, `prefetch` begins the
/// next copy on the streamer's own stream, and `release` marks the point in the computing stream
/// after which the slot may be overwritten. Copies wait for this point by an event, without
/// blocking the host. `acquire` blocks the host only if weights are staged, until the last bytes of
/// the layer have been handed to the device.
///
/// In steady state, the streamer does not allocate, map or pin memory.
///
/// Thread-safety: may be used by one thread at a time, with any streams of the device. In a forked
/// child, only the destructor may be called.
///
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");
/// Weights weights = Weights::open(model);
/// weights.warm().or_throw("bringing in the weights");  // only weights in memory can be copied
/// const StreamingPlan plan = plan_streaming(model, {.device_bytes = 8_GiB});
///
/// HostDevice device;  // or CudaDevice
/// DeviceTape tape = DeviceTape::start(device, plan.device.bytes());
/// LayerStreamer streamer(device, plan, tape.take<std::byte>(plan.device.bytes()), model.tensors,
///                        weights.all_bytes());
/// const DeviceStream stream(device);
/// const std::byte* const embedding = streamer.outer(plan.outer[0]);  // stays
/// for (std::size_t layer = 0; layer < plan.layers.size(); ++layer) {
///   const std::byte* const at = streamer.acquire(layer, stream.handle());
///   streamer.prefetch(streamer.next_streamed(layer));
///   // … launch kernels on the parts of plan.layers[layer], each at `at` + its offset
///   (void)at, (void)embedding;
///   streamer.release(layer, stream.handle());
/// }
/// @endcode
class LayerStreamer {
 public:
  /// Copies the tensors that belong to no layer and the layers that stay to the device, and waits
  /// for them. If that fails, nothing is left behind.
  /// @param place  memory for `plan.device`: at least `plan.device.bytes()`, aligned to 256 bytes.
  /// @param directory  the tensors of the planned model. Errors use it to locate bytes in a file.
  /// @param tensors  the bytes of each tensor, in the order of `directory.entries()`. They must be
  /// in memory already (`Weights::all_bytes`), and must remain there unchanged while the streamer
  /// exists. Tensors that belong to no layer or to a layer that stays are read only here.
  /// @throws InvalidArgument if the arguments do not match each other; DeviceError; SystemError;
  /// FormatError if a file has been truncated.
  LayerStreamer(Device& device, StreamingPlan plan, DeviceSpan<std::byte> place,
                TensorDirectory directory, std::vector<std::span<const std::byte>> tensors,
                const LayerStreamerOptions& options = {});
  /// Waits for its copies.
  ~LayerStreamer();
  LayerStreamer(const LayerStreamer&) = delete;
  LayerStreamer& operator=(const LayerStreamer&) = delete;

  [[nodiscard]] const StreamingPlan& plan() const noexcept;
  [[nodiscard]] LayerStreamerStat stat() const noexcept;
  /// Whether weights are copied through the ring of pinned buffers.
  [[nodiscard]] bool staged() const noexcept;
  /// Returns why `automatic` chose staging; empty if it did not.
  [[nodiscard]] const std::string& why_staged() const noexcept;

  /// Returns the device address of a tensor that belongs to no layer. O(plan().outer.size()).
  /// @throws InvalidArgument if the tensor is not in `plan().outer`.
  [[nodiscard]] std::byte* outer(std::uint32_t tensor) const;

  /// Begins to copy a layer into the least recently used slot. Returns true if the layer is on the
  /// device or on its way. Returns false if every slot is acquired or holds a prefetched layer that
  /// has not been acquired yet; `acquire` will then copy the layer. If weights are staged,
  /// `acquire` also reports errors of the copy.
  /// @param experts  copies only these experts and the parts that belong to no expert. If empty,
  /// copies the whole layer. Experts already in the slot stay there and are not copied again.
  /// @throws InvalidArgument if the model has no such layer or expert; DeviceError, and the layer
  /// is then not on the device.
  bool prefetch(std::size_t layer, std::span<const std::uint32_t> experts = {});

  /// Returns the device address of the layer, for work that is put on `stream` after this call.
  /// Copies the layer first if it was not prefetched. May be called again before `release`, with
  /// the same stream or another; each call needs its own `release`.
  /// @throws InvalidArgument if the model has no such layer or expert; WrongState if other layers
  /// have acquired all slots; DeviceError; FormatError or SystemError if weights are staged and
  /// their bytes can no longer be read. The layer is then not acquired, and the call may be
  /// repeated.
  [[nodiscard]] std::byte* acquire(std::size_t layer, StreamHandle stream,
                                   std::span<const std::uint32_t> experts = {});

  /// Ends one `acquire`. Only work that is already on `stream` may still use the layer. @pre The
  /// stream exists until the slot is copied into again or the streamer is destroyed.
  /// @throws InvalidArgument if the model has no such layer; WrongState if the layer is not
  /// acquired; DeviceError, and the layer then stays acquired.
  void release(std::size_t layer, StreamHandle stream);

  /// Returns the next layer after this one, cyclically, that does not stay on the device, or
  /// `layer` itself if all layers stay. @pre layer < plan().layers.size()
  [[nodiscard]] std::size_t next_streamed(std::size_t layer) const noexcept;

 private:
  class Slots;
  std::unique_ptr<Slots> slots_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
