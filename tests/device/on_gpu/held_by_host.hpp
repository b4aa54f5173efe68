// SPDX-License-Identifier: Apache-2.0
/// @file
/// Streams of a GPU that start no work until a test lets them.
#pragma once

#include <future>
#include <memory>

#include "device/cuda_driver.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::tests {

/// While it lives, the stream starts no work, because a host function that waits is on it.
class HeldByHost {
 public:
  HeldByHost(const Device& device, StreamHandle stream) {
    const CurrentDevice current(device);
    // The function may still be returning when this object is destroyed, so it has its own
    // reference.
    auto waits = std::make_unique<Released>(released_.get_future().share());
    const internal::EntryPoint<CUstream, CUhostFn, void*> launch(internal::cuda_driver().handle,
                                                                 "cuLaunchHostFunc");
    internal::call_cuda(launch, stream, wait, waits.get());
    static_cast<void>(waits.release());
  }
  ~HeldByHost() { released_.set_value(); }
  HeldByHost(const HeldByHost&) = delete;
  HeldByHost& operator=(const HeldByHost&) = delete;

 private:
  using Released = std::shared_future<void>;

  static void wait(void* waits) {
    std::unique_ptr<Released>(static_cast<Released*>(waits))->wait();
  }

  std::promise<void> released_;
};

}  // namespace tapedeck::tests
