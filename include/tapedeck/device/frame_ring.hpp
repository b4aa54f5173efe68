/// @file
/// `FrameRing`: scratch that is still read while the next pass is written.
#pragma once

#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// N tapes, of a device or pinned, used in turn: while an asynchronous copy or another stream still
/// reads one frame, the next pass writes another. One tape is enough where all work is on one
/// stream, which orders it.
///
/// Thread-safety: the writer's.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// const DeviceStream copies(device);
/// std::vector<Tape> tapes;
/// for (int i = 0; i < 2; ++i) tapes.push_back(start_pinned(device, 1_MiB));
/// FrameRing<Tape> staging(device, std::move(tapes));
/// std::byte* const weights = device.allocate(64_KiB);
/// std::array<DeviceEvent, 2> done = {DeviceEvent(device), DeviceEvent(device)};
/// for (int layer = 0; layer < 8; ++layer) {
///   const std::span<std::byte> part = staging.current().take<std::byte>(64_KiB);
///   std::memset(part.data(), layer, part.size());
///   device.copy(weights, part.data(), part.size(), copies.handle());
///   DeviceEvent& event = done[staging.index()];
///   event.record(copies.handle());
///   staging.rotate(event.handle());  // waits for the copy before last
/// }
/// copies.synchronize();
/// assert(weights[0] == std::byte{7});
/// device.deallocate(weights);
/// @endcode
template <class AnyTape>
class FrameRing {
 public:
  /// A ring of one tape without memory.
  FrameRing() : tapes_(1), closed_by_(1) {}
  /// The device outlives the ring. @pre there is one tape at least.
  FrameRing(Device& device, std::vector<AnyTape> tapes)
      : device_(&device), tapes_(std::move(tapes)), closed_by_(tapes_.size()) {
    assert(!tapes_.empty());
  }

  [[nodiscard]] AnyTape& current() noexcept { return tapes_[index_]; }
  [[nodiscard]] std::size_t index() const noexcept { return index_; }  ///< Of the current frame.
  [[nodiscard]] std::size_t size() const noexcept { return tapes_.size(); }
  [[nodiscard]] AnyTape& frame(std::size_t index) noexcept { return tapes_[index]; }
  [[nodiscard]] const AnyTape& frame(std::size_t index) const noexcept { return tapes_[index]; }

  /// Closes the frame with the event after which nobody reads it, and opens the next one: cleared,
  /// and after its own event has fired. @pre an event is not recorded again, and lives, until its
  /// frame comes round. @throws DeviceError of the event, and the frame stays the current one.
  void rotate(EventHandle done) {
    assert(device_ != nullptr && done != nullptr);
    const std::size_t next = (index_ + 1) % tapes_.size();
    auto* const awaited = next == index_ ? done : closed_by_[next];
    if (awaited != nullptr) device_->synchronize_event(awaited);
    closed_by_[index_] = done;
    closed_by_[next] = nullptr;
    index_ = next;
    current().clear();
  }

 private:
  Device* device_ = nullptr;
  std::vector<AnyTape> tapes_;
  std::vector<EventHandle> closed_by_;
  std::size_t index_ = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
