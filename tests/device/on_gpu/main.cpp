// SPDX-License-Identifier: Apache-2.0
// The tests of this program need a GPU. Without one, each is skipped with the reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "tapedeck/device/cuda_device.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  const tapedeck::CudaSupport support = tapedeck::CudaDevice::support();
  if (support.devices == 0) {
    // In the format in which GoogleTest reports a skipped test, and which CTest recognizes.
    std::printf("[  SKIPPED ] %s\n", support.why.c_str());
    return 0;
  }
  return RUN_ALL_TESTS();
}
