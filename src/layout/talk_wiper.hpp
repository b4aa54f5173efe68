// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TalkWiper`: zeroes what a talk held.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/side.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// On the host, memory is zeroed at once; on a device, later, behind the talk's own work on its
/// stream. Thread-safety: for the talk's writer, and for another thread that decommits its pages.
template <class Memory>
class TalkWiper {
 public:
  explicit TalkWiper(Memory* memory) noexcept : memory_(memory) {}

  void zero(std::uintptr_t at, std::size_t bytes) noexcept(Memory::kWritable) {
    if constexpr (Memory::kWritable) {
      overwrite(at, at + bytes, 0);
    } else if (bytes != 0) {
      wiping_.store(true, std::memory_order_relaxed);
      memory_->zero(reinterpret_cast<std::byte*>(at), bytes, stream_);
    }
  }

  /// Waits for a pending wipe, because unmapping is not ordered by the stream.
  void finish() {
    if constexpr (!Memory::kWritable) {
      if (!wiping_.load(std::memory_order_relaxed)) return;
      memory_->wait_for(stream_);
      wiping_.store(false, std::memory_order_relaxed);
    }
  }

  /// Waits for a pending wipe if the stream is another one.
  void set_stream(StreamHandle stream) {
    if (stream != stream_) finish();
    stream_ = stream;
  }
  /// The talk's stream may have been destroyed already, while a wipe is still pending on it.
  void leave_stream() {
    if (wiping_.load(std::memory_order_relaxed)) memory_->wait_for_readers();
    stream_ = nullptr;
  }
  [[nodiscard]] StreamHandle stream() const noexcept { return stream_; }

 private:
  Memory* memory_;
  StreamHandle stream_ = nullptr;
  std::atomic<bool> wiping_{false};  // whether a wipe may still be on the stream
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
