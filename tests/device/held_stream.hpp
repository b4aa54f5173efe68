// SPDX-License-Identifier: Apache-2.0
/// @file
/// Streams of a `HostDevice` that start no work until a test lets them, to show that a call really
/// waits.
#pragma once

#include <future>
#include <optional>

#include "device/host_streams.hpp"
#include "os/when_asleep.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::tests {

/// While it lives, the stream starts no work. Not for the default stream.
class HeldStream {
 public:
  // The handle of a host stream is the stream itself.
  explicit HeldStream(StreamHandle stream) {
    reinterpret_cast<internal::HostStream*>(stream)->put(
        [waits = released_.get_future().share()] { waits.wait(); });
  }
  ~HeldStream() { released_.set_value(); }
  HeldStream(const HeldStream&) = delete;
  HeldStream& operator=(const HeldStream&) = delete;

 private:
  std::promise<void> released_;
};

/// Holds a stream until this thread sleeps, as it does in a call that waits for the stream.
class StreamHeldUntilWaitedFor {
 public:
  explicit StreamHeldUntilWaitedFor(StreamHandle stream) : held_(std::in_place, stream) {}

 private:
  std::optional<HeldStream> held_;
  WhenAsleep release_{[this] { held_.reset(); }};
};

}  // namespace tapedeck::tests
