// SPDX-License-Identifier: Apache-2.0
// Streams, events and memory of the runtime API, as in the CUDA code of an engine.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_tape.hpp"

namespace tapedeck::tests {
namespace {

TEST(RuntimeOnGpu, ItsStreamsEventsAndMemoryAreTakenAsTheyAre) {
  constexpr std::size_t kBytes = 1_MiB;
  cudaStream_t stream = nullptr;
  const cudaError_t started = cudaStreamCreate(&stream);
  if (started == cudaErrorInsufficientDriver) GTEST_SKIP() << cudaGetErrorString(started);
  ASSERT_EQ(started, cudaSuccess) << cudaGetErrorString(started);
  cudaEvent_t done = nullptr;
  void* memory = nullptr;
  ASSERT_EQ(cudaEventCreate(&done), cudaSuccess);
  ASSERT_EQ(cudaMalloc(&memory, kBytes), cudaSuccess);
  std::vector<std::byte> got(kBytes);
  {
    CudaDevice device;
    DeviceTape tape =
        DeviceTape::over(DeviceBlock::borrow(device, {static_cast<std::byte*>(memory), kBytes}));
    const DeviceSpan<std::byte> taken = tape.take<std::byte>(kBytes);
    device.fill(taken.data(), std::byte{7}, kBytes, stream);
    ASSERT_EQ(cudaMemcpyAsync(got.data(), taken.data(), kBytes, cudaMemcpyDeviceToHost, stream),
              cudaSuccess);
    device.record(done, stream);
    device.synchronize_event(done);
    EXPECT_TRUE(device.fired(done));
  }
  EXPECT_EQ(got, std::vector<std::byte>(kBytes, std::byte{7}));
  // The device is closed, but the runtime keeps its context alive.
  EXPECT_EQ(cudaMemset(memory, 1, kBytes), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(done), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

}  // namespace
}  // namespace tapedeck::tests
