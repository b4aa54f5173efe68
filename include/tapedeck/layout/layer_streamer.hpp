/// @file
/// `LayerStreamer`: layers of a model that take turns in a few slots on a device.
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

/// Where the weights are copied from.
enum class StreamSource : std::uint8_t {
  automatic,  ///< As `pin`; where that is refused, or more than `pin_at_most`, as `staged`.
  pin,        ///< They are pinned where they lie, for as long as the streamer lives.
  pinned,     ///< Somebody has pinned them; nobody looks whether that is so.
  staged,     ///< Through a ring of pinned buffers, by a thread of the streamer.
};

struct LayerStreamerOptions {
  StreamSource source = StreamSource::automatic;
  std::uint64_t pin_at_most = std::numeric_limits<std::uint64_t>::max();  ///< Bytes.
};

/// What a streamer did so far. Thread-safety: a value.
struct LayerStreamerStat {
  std::uint64_t copies = 0;        ///< Layers (or experts of one) that were copied into a slot.
  std::uint64_t copied_bytes = 0;  ///< With padding between tensors.
  std::uint64_t copy_calls = 0;    ///< 1 for each layer that lies in one piece.
  std::uint64_t in_time = 0;       ///< Acquired layers whose copy had begun before,
  std::uint64_t late = 0;          ///< and those where `acquire` had to begin it.
};

/// Streams a model's layers to a device that has no room for all of them. Weights stay on the host;
/// on the device lie the tensors of no layer, the layers that stay, and slots in which the others
/// take turns, all at addresses that never change: a kernel may be captured over a slot, and a
/// graph with it.
///
/// For each layer: `acquire` has the computing stream wait for the copy, `release` says that the
/// slot may be written over once that stream has got so far, and `prefetch` begins the next copy,
/// on the streamer's own stream. Copies wait for the release of their slot by events; the host
/// waits for neither. Only where weights are staged does `acquire` wait on the host, until the last
/// bytes of the layer have been handed to the device.
///
/// In steady state nothing is allocated, mapped or pinned.
///
/// Thread-safety: one thread at a time. Streams may be any of the device's.
///
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");
/// Weights weights = Weights::open(model);
/// weights.warm().or_throw("bringing in the weights");  // only what is in memory can be copied
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
///   // … launch what computes with the parts of plan.layers[layer], each at `at` + its offset
///   (void)at, (void)embedding;
///   streamer.release(layer, stream.handle());
/// }
/// @endcode
class LayerStreamer {
 public:
  /// Brings the tensors of no layer and the layers that stay to the device, and waits for them.
  /// @param place  where `plan.device` lies: `plan.device.bytes()` at least, aligned to 256.
  /// @param directory  of the model that was planned; it tells where bytes are that cannot be read.
  /// @param tensors  the bytes of each of its tensors, in the order of `directory.entries()`; they
  /// are in memory by now, stay, and do not change (`Weights::all_bytes`). Those of no layer and of
  /// layers that stay are read here alone.
  /// @throws InvalidArgument where these do not fit to each other; DeviceError; SystemError;
  /// FormatError for a file that was made shorter. Nothing is left behind.
  LayerStreamer(Device& device, StreamingPlan plan, DeviceSpan<std::byte> place,
                TensorDirectory directory, std::vector<std::span<const std::byte>> tensors,
                const LayerStreamerOptions& options = {});
  /// Waits for its copies.
  ~LayerStreamer();
  LayerStreamer(const LayerStreamer&) = delete;
  LayerStreamer& operator=(const LayerStreamer&) = delete;

  [[nodiscard]] const StreamingPlan& plan() const noexcept;
  [[nodiscard]] LayerStreamerStat stat() const noexcept;
  /// Whether weights go through the ring, and, where that was not asked for, why.
  [[nodiscard]] bool staged() const noexcept;
  [[nodiscard]] const std::string& why_staged() const noexcept;

  /// Where a tensor of no layer lies on the device: one of `plan().outer`. O(their number).
  /// @throws InvalidArgument for another.
  [[nodiscard]] std::byte* outer(std::uint32_t tensor) const;

  /// Begins to copy a layer into the slot that was used longest ago. True where it is there or on
  /// its way; false where every slot is acquired, or awaits its own turn: `acquire` will copy then.
  /// What fails while weights are staged, `acquire` tells.
  /// @param experts  of a layer with experts only these are copied, besides what belongs to none;
  /// none: all of it. Those that its slot has already stay, and are not copied again.
  /// @throws InvalidArgument for a layer or an expert that there is not; DeviceError, and the layer
  /// is not there.
  bool prefetch(std::size_t layer, std::span<const std::uint32_t> experts = {});

  /// Where the layer lies, for what is put on `stream` from now on; copies it first where nobody
  /// has. May be called again before the release, for this stream or another: each call wants its
  /// own release.
  /// @throws InvalidArgument as `prefetch`; WrongState where all slots are acquired by other
  /// layers; DeviceError; where weights are staged also FormatError and SystemError for bytes that
  /// are gone. The layer is then not acquired, and may be asked for again.
  [[nodiscard]] std::byte* acquire(std::size_t layer, StreamHandle stream,
                                   std::span<const std::uint32_t> experts = {});

  /// What was put on `stream` until now is the last that uses the layer. @pre the stream lives
  /// until the slot has been copied into again, or the streamer has ended.
  /// @throws InvalidArgument as `prefetch`; WrongState where it is not acquired; DeviceError, and
  /// it stays acquired.
  void release(std::size_t layer, StreamHandle stream);

  /// The layer after this one, in turn, that does not stay on the device; `layer` itself where all
  /// do. @pre layer < plan().layers.size()
  [[nodiscard]] std::size_t next_streamed(std::size_t layer) const noexcept;

 private:
  class Slots;
  std::unique_ptr<Slots> slots_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
