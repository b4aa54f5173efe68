// SPDX-License-Identifier: Apache-2.0
// Runs the tests of the GPU decoder on the stand-in driver, which computes the decoder's kernels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/stand_in_device.hpp"
#include "llama/host_kernels/llama_kernels.hpp"

namespace {

class OnStandIn final : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& /*test*/) override {
    tapedeck::tests::stand_in::reset({.host_visible = true});
    tapedeck::tests::compute_llama_kernels();
  }
  void OnTestEnd(const testing::TestInfo& /*test*/) override {
    tapedeck::tests::expect_all_given_back();
  }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new OnStandIn);
  return RUN_ALL_TESTS();
}
