/// @file
/// Streams of a `HostDevice` that begin nothing until a test lets them: what must wait is seen to.
#pragma once

#include <chrono>
#include <future>
#include <optional>
#include <thread>

#include "gpu/host_streams.hpp"
#include "tapedeck/gpu/device.hpp"

namespace tapedeck::tests {

/// While it lives, the stream begins nothing. Not for the default stream.
class HeldStream {
 public:
  // A host stream's handle is the stream.
  explicit HeldStream(StreamHandle stream) {
    reinterpret_cast<gpu::HostStream*>(stream)->put(
        [waits = released_.get_future().share()] { waits.wait(); });
  }
  ~HeldStream() { released_.set_value(); }
  HeldStream(const HeldStream&) = delete;
  HeldStream& operator=(const HeldStream&) = delete;

 private:
  std::promise<void> released_;
};

/// Holds a stream for a while: who does not wait for it goes on too early.
class StreamHeldForAWhile {
 public:
  explicit StreamHeldForAWhile(StreamHandle stream) : held_(std::in_place, stream) {
    thread_ = std::thread([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      held_.reset();
    });
  }
  ~StreamHeldForAWhile() { thread_.join(); }
  StreamHeldForAWhile(const StreamHeldForAWhile&) = delete;
  StreamHeldForAWhile& operator=(const StreamHeldForAWhile&) = delete;

 private:
  std::optional<HeldStream> held_;
  std::thread thread_;
};

}  // namespace tapedeck::tests
