// SPDX-License-Identifier: Apache-2.0
// The contracts of devices and of tapes, on a GPU.
#include <gtest/gtest.h>

#include <cstddef>
#include <memory>

#include "device/device_contract.hpp"
#include "device/device_stream_contract.hpp"
#include "device/device_tape_kinds.hpp"
#include "device/on_gpu/held_by_host.hpp"
#include "memory/tape_growth_contract.hpp"
#include "memory/tape_mark_contract.hpp"
#include "tapedeck/device/cuda_device.hpp"

namespace tapedeck::tests {
namespace {

struct GpuKind {
  static constexpr bool kWholeDevice = false;

  [[nodiscard]] static std::unique_ptr<Device> make(std::size_t /*limit*/) {
    return std::make_unique<CudaDevice>();
  }
  [[nodiscard]] static HeldByHost hold(const Device& device, StreamHandle stream) {
    return {device, stream};
  }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, DeviceContract, GpuKind);
INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, DeviceStreamContract, GpuKind);

INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, TapeContract, DeviceTapeKinds<GpuKind>, TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, TapeMarkContract, DeviceTapeKinds<GpuKind>, TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, TapeGrowthContract, GrowingDeviceTapeKinds<GpuKind>,
                               TapeKindNames);

}  // namespace
}  // namespace tapedeck::tests
