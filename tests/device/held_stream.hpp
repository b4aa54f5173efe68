/// @file
/// Streams of a `HostDevice` that begin nothing until a test lets them: what must wait is seen to.
#pragma once

#include <future>
#include <optional>

#include "device/host_streams.hpp"
#include "os/when_asleep.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::tests {

/// While it lives, the stream begins nothing. Not for the default stream.
class HeldStream {
 public:
  // A host stream's handle is the stream.
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

/// Holds a stream until this thread sleeps, as a call that waits for the stream does.
class StreamHeldUntilWaitedFor {
 public:
  explicit StreamHeldUntilWaitedFor(StreamHandle stream) : held_(std::in_place, stream) {}

 private:
  std::optional<HeldStream> held_;
  WhenAsleep release_{[this] { held_.reset(); }};
};

}  // namespace tapedeck::tests
