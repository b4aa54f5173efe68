// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TalkReaders`: what may still read the pages of a talk that was cleared.
#pragma once

#include <atomic>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/side.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// On a device, a talk with a stream of its own is read by the work that was on this stream when it
/// was cleared, and any other talk by whatever runs on the device. On the host, there is nothing to
/// wait for. Thread-safety: for the talk's writer; another thread may call `wait`.
template <class Memory>
class TalkReaders {
 public:
  explicit TalkReaders(Memory* memory) noexcept : memory_(memory) {}
  ~TalkReaders() {
    if constexpr (!Memory::kWritable) {
      if (event_ != nullptr) memory_->device.destroy_event(event_);
    }
  }
  TalkReaders(const TalkReaders&) = delete;
  TalkReaders& operator=(const TalkReaders&) = delete;

  /// The talk has a stream of its own from now on. @throws DeviceError; then nothing has changed.
  void watch_stream() {
    if (event_ == nullptr) event_ = memory_->device.create_event();
  }

  /// Must be called before other talks may take the pages. @throws DeviceError.
  void cleared([[maybe_unused]] StreamHandle stream) noexcept(Memory::kWritable) {
    if constexpr (!Memory::kWritable) {
      if (event_ != nullptr) memory_->device.record(event_, stream);
    }
  }

  /// @throws DeviceError.
  void wait() {
    if constexpr (!Memory::kWritable) {
      if (event_ != nullptr) {
        memory_->wait_for(EventHandle(event_));
      } else {
        memory_->wait_for_readers();
      }
    }
  }

 private:
  Memory* memory_;
  std::atomic<EventHandle> event_{nullptr};
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
