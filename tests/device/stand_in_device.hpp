// SPDX-License-Identifier: Apache-2.0
/// @file
/// `CudaDevice`s of the stand-in driver.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "device/stand_in/stand_in.hpp"
#include "tapedeck/device/cuda_device.hpp"

namespace tapedeck::tests {

/// Expects that nothing is allocated, and that no rule of CUDA was broken.
inline void expect_all_given_back() {
  EXPECT_EQ(stand_in::live(), stand_in::Live{});
  EXPECT_THAT(stand_in::violations(), testing::IsEmpty());
}

/// A kind of device for `DeviceContract`.
class StandInKind {
 public:
  static constexpr bool kWholeDevice = true;

  StandInKind() = default;
  ~StandInKind() { expect_all_given_back(); }
  StandInKind(const StandInKind&) = delete;
  StandInKind& operator=(const StandInKind&) = delete;

  [[nodiscard]] static std::unique_ptr<Device> make(std::size_t limit) {
    stand_in::reset({.memory = limit});
    return std::make_unique<CudaDevice>();
  }
  [[nodiscard]] static stand_in::Hold hold(Device& /*device*/, StreamHandle stream) {
    return stand_in::Hold(stream);
  }
};

}  // namespace tapedeck::tests
