// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/cuda_device.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "device/device_contract.hpp"
#include "device/device_stream_contract.hpp"
#include "device/stand_in_device.hpp"
#include "os/child.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {

INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, DeviceContract, StandInKind);
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, DeviceStreamContract, StandInKind);

namespace {

// Resets the stand-in, and expects at the end that nothing is left.
class CudaDeviceTest : public testing::Test {
 protected:
  void TearDown() override { expect_all_given_back(); }

  static void start(const stand_in::Settings& settings = {}) { stand_in::reset(settings); }
};

TEST_F(CudaDeviceTest, SupportCountsDevices) {
  start({.devices = 3, .driver_version = 12040});
  const CudaSupport support = CudaDevice::support();
  EXPECT_EQ(support.devices, 3U);
  EXPECT_EQ(support.driver, "12.4");
  EXPECT_EQ(support.why, "");
}

TEST_F(CudaDeviceTest, SaysWhatIsMissing) {
  struct Row {
    stand_in::Settings settings;
    unsigned ordinal;
    const char* feature;
    const char* message;
    unsigned supported = 0;
  };
  const std::vector<Row> rows = {
      {{.devices = 0}, 0, "CUDA device", "no CUDA device: cuInit failed: CUDA_ERROR_NO_DEVICE"},
      {{.driver_version = 11080},
       0,
       "CUDA 12.0",
       "the CUDA driver supports only CUDA 11.8, which is below 12.0"},
      {{.devices = 2},
       2,
       "CUDA device 2",
       "there is no CUDA device 2: the number of devices is 2",
       2},
      {{},
       4'000'000'000,
       "CUDA device 4000000000",
       "there is no CUDA device 4000000000: the number of devices is 1",
       1},
      {{.virtual_memory = false},
       0,
       "virtual memory management",
       "stand-in 0 does not support virtual memory management",
       1},
      {{.unified_addressing = false},
       0,
       "unified addressing",
       "stand-in 0 does not support unified addressing",
       1}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.message);
    start(row.settings);
    const auto error = thrown<DeviceUnavailable>([&] { const CudaDevice device(row.ordinal); });
    EXPECT_EQ(error.feature(), row.feature);
    EXPECT_EQ(error.message(), row.message);
    const CudaSupport support = CudaDevice::support();
    EXPECT_EQ(support.devices, row.supported);
    EXPECT_EQ(support.why, row.supported == 0 ? error.what() : std::string());
    EXPECT_EQ(support.driver, row.settings.driver_version == 11080 ? "11.8" : "13.0");
    expect_all_given_back();
  }
}

TEST_F(CudaDeviceTest, AcceptsTheOldestSupportedDriver) {
  start({.driver_version = CudaDevice::kLeastDriver});
  EXPECT_EQ(CudaDevice().info().driver, "12.0");
}

TEST_F(CudaDeviceTest, KnowsItsDevice) {
  start({.devices = 2, .driver_version = 12080, .memory = 32_MiB});
  const CudaDevice device(1);
  EXPECT_EQ(device.info().kind, DeviceKind::cuda);
  EXPECT_EQ(device.info().ordinal, 1U);
  EXPECT_EQ(device.info().name, "stand-in");
  EXPECT_EQ(device.info().driver, "12.8");
  EXPECT_EQ(device.info().total, 32_MiB);
  EXPECT_EQ(device.info().granularity, stand_in::kGranularity);
  EXPECT_EQ(device.info().compute_major, 9);
  EXPECT_EQ(device.info().compute_minor, 0);
  EXPECT_FALSE(device.info().integrated);
  EXPECT_EQ(device.label(), "stand-in 1");
}

TEST_F(CudaDeviceTest, KnowsWhetherItsMemoryIsTheHosts) {
  start({.integrated = true});
  EXPECT_TRUE(CudaDevice().info().integrated);
}

TEST_F(CudaDeviceTest, OfTwoEachHasItsOwnMemory) {
  start({.devices = 2});
  CudaDevice one(0);
  CudaDevice other(1);
  const MappedPages pages(other, stand_in::kGranularity);
  EXPECT_EQ(one.memory().free, one.info().total);
  EXPECT_EQ(other.memory().free, other.info().total - stand_in::kGranularity);
  other.fill(pages.at(), std::byte{1}, 10, nullptr);
  other.synchronize();
}

TEST_F(CudaDeviceTest, OpenTwiceSharesTheContext) {
  start();
  std::optional<CudaDevice> one(std::in_place);
  CudaDevice same;
  EXPECT_EQ(stand_in::live().retains, 2U);
  const MappedPages pages(same, stand_in::kGranularity);
  one.reset();
  same.fill(pages.at(), std::byte{1}, 10, nullptr);
  same.synchronize();
}

TEST_F(CudaDeviceTest, NoOtherDeviceHasAContext) {
  const HostDevice host;
  const auto error = thrown<InvalidArgument>([&] { const CurrentDevice current(host); });
  EXPECT_EQ(error.argument(), "device");
}

TEST_F(CudaDeviceTest, LeavesTheContextOfItsCallerCurrent) {
  start({.devices = 2});
  CUcontext own = nullptr;
  CUcontext popped = nullptr;
  ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&own, 1), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxPushCurrent(own), CUDA_SUCCESS);
  {
    CudaDevice device(0);
    device.deallocate(device.allocate(1));
    EXPECT_THROW(static_cast<void>(device.allocate(1_GiB)), DeviceOutOfMemory);
  }
  EXPECT_EQ(stand_in::live().pushed, 1U);
  ASSERT_EQ(cuCtxPopCurrent(&popped), CUDA_SUCCESS);
  EXPECT_EQ(popped, own);
  ASSERT_EQ(cuDevicePrimaryCtxRelease(1), CUDA_SUCCESS);
}

TEST_F(CudaDeviceTest, TakesStreamsAndEventsOfTheEngine) {
  start();
  CudaDevice device;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUevent event = nullptr;
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxPushCurrent(context), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  ASSERT_EQ(cuEventCreate(&event, 0), CUDA_SUCCESS);
  {
    const MappedPages pages(device, stand_in::kGranularity);
    device.fill(pages.at(), std::byte{1}, 10, stream);
    device.record(event, stream);
    device.synchronize_event(event);
    EXPECT_TRUE(device.fired(event));
  }
  ASSERT_EQ(cuEventDestroy(event), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamDestroy(stream), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxPopCurrent(&context), CUDA_SUCCESS);
  ASSERT_EQ(cuDevicePrimaryCtxRelease(0), CUDA_SUCCESS);
}

TEST_F(CudaDeviceTest, TellsWhatIsFreeWhereThereIsNoRoom) {
  start({.memory = 4_MiB});
  CudaDevice device;
  const PageHandle pages = device.create_pages(2_MiB);
  const auto error =
      thrown<DeviceOutOfMemory>([&] { static_cast<void>(device.create_pages(4_MiB)); });
  EXPECT_EQ(error.device(), "stand-in 0");
  EXPECT_EQ(error.call(), "cuMemCreate");
  EXPECT_EQ(error.bytes(), 4_MiB);
  EXPECT_EQ(error.name(), "CUDA_ERROR_OUT_OF_MEMORY");
  EXPECT_EQ(error.advice(),
            "2 MiB of 4 MiB are free: plan less, or stop other programs that use the device");
  device.destroy_pages(pages);
}

TEST_F(CudaDeviceTest, DoesNotPutThePinningDownToTheDevice) {
  start();
  CudaDevice device;
  stand_in::fail_call(2, CUDA_ERROR_OUT_OF_MEMORY);
  const auto error =
      thrown<DeviceOutOfMemory>([&] { static_cast<void>(device.allocate_pinned(2_MiB)); });
  EXPECT_EQ(error.call(), "cuMemHostAlloc");
  EXPECT_EQ(error.advice(), "the host has no more memory to pin: pin less");
}

TEST_F(CudaDeviceTest, SaysThatMemoryIsPinnedAlready) {
  start();
  CudaDevice device;
  std::array<std::byte, 100> memory{};
  device.pin(memory);
  const auto error = thrown<DeviceError>([&] { device.pin(std::span(memory).subspan(50)); });
  EXPECT_EQ(error.name(), "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED");
  EXPECT_EQ(error.bytes(), 50U);
  device.unpin(memory.data());
}

TEST_F(CudaDeviceTest, SaysThatTheContextIsBroken) {
  start();
  CudaDevice device;
  DeviceEvent event(device);
  stand_in::fail_call(2, CUDA_ERROR_ILLEGAL_ADDRESS);
  const auto error = thrown<DeviceError>([&] { static_cast<void>(event.fired()); });
  EXPECT_EQ(error.call(), "cuEventQuery");
  EXPECT_EQ(error.number(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(CudaDeviceTest, UnmapsWhatAllowsNoAccess) {
  start();
  CudaDevice device;
  const std::size_t page = stand_in::kGranularity;
  std::byte* const at = device.reserve(page);
  const PageHandle pages = device.create_pages(page);
  stand_in::fail_call(5, CUDA_ERROR_UNKNOWN);
  EXPECT_THROW(device.map(at, pages, page), DeviceError);
  EXPECT_EQ(stand_in::stop_failing(), "cuMemSetAccess");
  EXPECT_EQ(stand_in::live().mappings, 0U);
  device.destroy_pages(pages);
  device.unreserve(at, page);
}

// On a HostDevice the host can. This test finds code that forgets that it cannot on a GPU.
TEST_F(CudaDeviceTest, HoldsNothingThatTheHostCanReach) {
  start();
  CudaDevice device;
  const MappedPages pages(device, stand_in::kGranularity);
  std::byte* const allocated = device.allocate(100);
  EXPECT_TRUE(faults_on_read(pages.at()));
  EXPECT_TRUE(faults_on_write(allocated));
  device.deallocate(allocated);
}

TEST_F(CudaDeviceTest, PagesStayWhileTheyAreMapped) {
  start();
  CudaDevice device;
  const std::size_t page = stand_in::kGranularity;
  std::byte* const at = device.reserve(page);
  const PageHandle pages = device.create_pages(page);
  device.map(at, pages, page);
  device.destroy_pages(pages);
  device.fill(at, std::byte{1}, page, nullptr);
  device.synchronize();
  EXPECT_EQ(device.memory().free, device.info().total - page);
  device.unmap(at, page);
  EXPECT_EQ(device.memory().free, device.info().total);
  device.unreserve(at, page);
}

TEST_F(CudaDeviceTest, GivesNothingBackWithoutItsContext) {
  start();
  CudaDevice device;
  std::byte* const at = device.allocate(100);
  stand_in::fail_call(1, CUDA_ERROR_UNKNOWN);
  device.deallocate(at);
  EXPECT_EQ(stand_in::live().allocations, 1U);
  device.deallocate(at);
}

// As at the end of a process, when the driver may be gone first.
TEST(CudaDeviceWithoutItsDriver, GivesBackInSilence) {
  stand_in::reset();
  {
    CudaDevice device;
    const MappedPages pages(device, stand_in::kGranularity);
    const Pinned pinned(device, 100);
    const DeviceStream stream(device);
    const DeviceEvent event(device);
    std::byte* const at = device.allocate(100);
    stand_in::fail_call(1, CUDA_ERROR_DEINITIALIZED, true);
    device.deallocate(at);
    const auto error = thrown<DeviceError>([&] { static_cast<void>(event.fired()); });
    EXPECT_EQ(error.call(), "cuCtxPushCurrent_v2");
    EXPECT_EQ(error.number(), CUDA_ERROR_DEINITIALIZED);
    EXPECT_EQ(error.name(), "CUresult 4");
  }
  EXPECT_THAT(stand_in::violations(), testing::IsEmpty());
  stand_in::reset();
}

}  // namespace
}  // namespace tapedeck::tests
