// SPDX-License-Identifier: Apache-2.0
// The adapter to CCCL's concept of a memory resource, tested through CCCL's type-erased reference.

#include "tapedeck/device/cuda_resource.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <new>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {
namespace {

using Reference = cuda::mr::async_resource_ref<cuda::mr::device_accessible>;

TEST(DeviceTapeResource, TakesFromTheTapeThroughAReference) {
  HostDevice device;
  DeviceTape tape = DeviceTape::start(device, 1_MiB);
  DeviceTapeResource resource(tape);
  Reference reference = resource;
  const cuda::stream_ref stream{cudaStream_t{}};
  void* const first = reference.allocate(1000, 4096);
  EXPECT_TRUE(tape.owns(first));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 4096, 0U);
  void* const second = reference.allocate_async(1000, 256, stream);
  EXPECT_EQ(static_cast<std::byte*>(second) - static_cast<std::byte*>(first), 1024);
  const std::size_t used = tape.used();
  reference.deallocate_async(second, 1000, 256, stream);
  reference.deallocate(first, 1000, 4096);
  EXPECT_EQ(tape.used(), used);
  tape.clear();
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_THROW((void)reference.allocate(2_MiB, 256), std::bad_alloc);
}

TEST(DeviceTapeResource, TwoAreEqualOverOneTape) {
  HostDevice device;
  DeviceTape tape = DeviceTape::start(device, 1_MiB);
  DeviceTape other = DeviceTape::start(device, 1_MiB);
  EXPECT_EQ(DeviceTapeResource(tape), DeviceTapeResource(tape));
  EXPECT_NE(DeviceTapeResource(tape), DeviceTapeResource(other));
  EXPECT_EQ(&DeviceTapeResource(other).tape(), &other);
}

}  // namespace
}  // namespace tapedeck::tests
