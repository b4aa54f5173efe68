// SPDX-License-Identifier: Apache-2.0
/// @file
/// `FrameRing`: scratch tapes used in turn, so that one can be read while another is written.
#pragma once

#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A ring of N tapes (device tapes or pinned tapes) that are used in turn. While an asynchronous
/// copy or another stream still reads one frame, the next pass writes another. If all work is on
/// one stream, the stream orders it and a single tape is enough.
///
/// Thread-safety: only the writer of the tapes.
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
///   staging.rotate(event.handle());  // waits for the copy of the previous layer
/// }
/// copies.synchronize();
/// assert(weights[0] == std::byte{7});
/// device.deallocate(weights);
/// @endcode
template <class AnyTape>
class FrameRing {
 public:
  /// Creates a ring of one tape without memory.
  FrameRing() : tapes_(1), closed_by_(1) {}
  /// @pre the device outlives the ring, and there is at least one tape.
  FrameRing(Device& device, std::vector<AnyTape> tapes)
      : device_(&device), tapes_(std::move(tapes)), closed_by_(tapes_.size()) {
    assert(!tapes_.empty());
  }

  [[nodiscard]] AnyTape& current() noexcept { return tapes_[index_]; }
  [[nodiscard]] std::size_t index() const noexcept { return index_; }  ///< Of the current frame.
  [[nodiscard]] std::size_t size() const noexcept { return tapes_.size(); }
  [[nodiscard]] AnyTape& frame(std::size_t index) noexcept { return tapes_[index]; }
  [[nodiscard]] const AnyTape& frame(std::size_t index) const noexcept { return tapes_[index]; }

  /// Makes later work on a stream wait until nothing reads the closed frames any more.
  /// @throws DeviceError.
  void wait_for_readers(StreamHandle stream) {
    for (EventHandle done : closed_by_) {
      if (done != nullptr) device_->wait(stream, done);
    }
  }

  /// Closes the current frame and makes the next one current. `done` is the event after which the
  /// current frame is no longer read. The next frame is cleared after the event that closed it has
  /// fired. @pre `done` stays alive and is not recorded again until its frame is next opened.
  /// @throws DeviceError if waiting for an event fails; the current frame does not change.
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
