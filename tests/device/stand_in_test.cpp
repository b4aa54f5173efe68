// SPDX-License-Identifier: Apache-2.0
// The stand-in reports violations of CUDA's rules. If it were lenient, the other tests would prove
// nothing. These tests call the driver directly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "device/stand_in/stand_in.hpp"

// cuda.h defines another version under this name.
#undef cuEventElapsedTime
// NOLINTNEXTLINE(readability-identifier-naming): the driver has it so.
extern "C" CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end);

namespace tapedeck::tests {
namespace {

using stand_in::Hold;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kDevicePage = stand_in::kGranularity;

CUmemAllocationProp of_device(int device) {
  CUmemAllocationProp property{};
  property.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  property.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  property.location.id = device;
  return property;
}

// A driver with the context of device 0 current, and short forms of the most common calls. They
// return the result of the call, successful or not.
class Driver {
 public:
  Driver() {
    stand_in::reset({.devices = 2, .memory = 8 * kDevicePage});
    EXPECT_EQ(cuInit(0), CUDA_SUCCESS);
    EXPECT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
    EXPECT_EQ(cuCtxPushCurrent(context), CUDA_SUCCESS);
  }

  static CUdeviceptr reserve(std::size_t bytes) {
    CUdeviceptr at = 0;
    static_cast<void>(cuMemAddressReserve(&at, bytes, 0, 0, 0));
    return at;
  }
  static CUmemGenericAllocationHandle create(std::size_t bytes, int device = 0) {
    CUmemGenericAllocationHandle pages = 0;
    const CUmemAllocationProp property = of_device(device);
    static_cast<void>(cuMemCreate(&pages, bytes, &property, 0));
    return pages;
  }
  static CUresult allow(CUdeviceptr at, std::size_t bytes) {
    const CUmemAccessDesc access = {.location = of_device(0).location,
                                    .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    return cuMemSetAccess(at, bytes, &access, 1);
  }
  static CUdeviceptr mapped(std::size_t bytes) {
    const CUdeviceptr at = reserve(bytes);
    static_cast<void>(cuMemMap(at, bytes, 0, create(bytes), 0));
    static_cast<void>(allow(at, bytes));
    return at;
  }
  static CUdeviceptr allocate(std::size_t bytes) {
    CUdeviceptr at = 0;
    static_cast<void>(cuMemAlloc(&at, bytes));
    return at;
  }
  static CUstream stream() {
    CUstream made = nullptr;
    static_cast<void>(cuStreamCreate(&made, CU_STREAM_NON_BLOCKING));
    return made;
  }
  static CUevent event() {
    CUevent made = nullptr;
    static_cast<void>(cuEventCreate(&made, CU_EVENT_DISABLE_TIMING));
    return made;
  }
  static CUresult fill(CUdeviceptr at, std::size_t bytes, CUstream on = nullptr) {
    return cuMemsetD8Async(at, 1, bytes, on);
  }
  CUcontext push_other() const {
    CUcontext other = nullptr;
    static_cast<void>(cuDevicePrimaryCtxRetain(&other, 1));
    static_cast<void>(cuCtxPushCurrent(other));
    return other;
  }

  CUcontext context = nullptr;
};

struct Misuse {
  const char* name;
  const char* reported;
  std::function<void(Driver&)> body;
};

std::ostream& operator<<(std::ostream& out, const Misuse& misuse) { return out << misuse.name; }

const std::vector<Misuse>& misuses() {
  using D = Driver;
  static const std::vector<Misuse> all = {
      {"ReserveOfPartOfAPage", "cuMemAddressReserve: not whole pages",
       [](D&) { D::reserve(kDevicePage + 4096); }},
      {"ReserveOfNothing", "cuMemAddressReserve: not whole pages", [](D&) { D::reserve(0); }},
      {"FreeOfPartOfAReservation", "cuMemAddressFree: .* was not reserved",
       [](D&) { cuMemAddressFree(D::reserve(2 * kDevicePage), kDevicePage); }},
      {"FreeOfAReservationTwice", "cuMemAddressFree: .* was not reserved",
       [](D&) {
         const CUdeviceptr at = D::reserve(kDevicePage);
         cuMemAddressFree(at, kDevicePage);
         cuMemAddressFree(at, kDevicePage);
       }},
      {"FreeOfAReservationThatIsMapped", "cuMemAddressFree: the range contains a mapping",
       [](D&) { cuMemAddressFree(D::mapped(kDevicePage), kDevicePage); }},
      {"CreateOfPartOfAPage", "cuMemCreate: not whole pages",
       [](D&) { D::create(kDevicePage / 2); }},
      {"CreateOnAnotherDevice", "cuMemCreate: the pages are not the current device's",
       [](D&) { D::create(kDevicePage, 1); }},
      {"ReleaseTwice", "cuMemRelease: no such pages",
       [](D&) {
         const auto pages = D::create(kDevicePage);
         cuMemRelease(pages);
         cuMemRelease(pages);
       }},
      {"MapOfReleasedPages", "cuMemMap: no such pages",
       [](D&) {
         const auto pages = D::create(kDevicePage);
         cuMemRelease(pages);
         cuMemMap(D::reserve(kDevicePage), kDevicePage, 0, pages, 0);
       }},
      {"MapInTheMiddleOfAPage", "cuMemMap: not whole pages",
       [](D&) {
         cuMemMap(D::reserve(2 * kDevicePage) + 4096, kDevicePage, 0, D::create(kDevicePage), 0);
       }},
      {"MapOfMoreThanThereIs", "cuMemMap: more than the size of the pages",
       [](D&) {
         cuMemMap(D::reserve(2 * kDevicePage), 2 * kDevicePage, 0, D::create(kDevicePage), 0);
       }},
      {"MapOverTheEnd", "cuMemMap: outside of a reservation",
       [](D&) {
         cuMemMap(D::reserve(kDevicePage), 2 * kDevicePage, 0, D::create(2 * kDevicePage), 0);
       }},
      {"MapOverWhatIsMapped", "cuMemMap: the range contains a mapping",
       [](D&) { cuMemMap(D::mapped(kDevicePage), kDevicePage, 0, D::create(kDevicePage), 0); }},
      {"AccessToPartOfAMapping", "cuMemSetAccess: .* does not consist of whole mappings",
       [](D&) { D::allow(D::mapped(2 * kDevicePage), kDevicePage); }},
      {"AccessOverTheEndOfAMapping", "cuMemSetAccess: .* does not consist of whole mappings",
       [](D&) {
         const CUdeviceptr at = D::reserve(2 * kDevicePage);
         cuMemMap(at, kDevicePage, 0, D::create(kDevicePage), 0);
         D::allow(at, 2 * kDevicePage);
       }},
      {"UnmapOfAPart", "cuMemUnmap: .* was not mapped by one call",
       [](D&) { cuMemUnmap(D::mapped(2 * kDevicePage), kDevicePage); }},
      {"UnmapOfTwoMappings", "cuMemUnmap: .* was not mapped by one call",
       [](D&) {
         const CUdeviceptr at = D::reserve(2 * kDevicePage);
         cuMemMap(at, kDevicePage, 0, D::create(kDevicePage), 0);
         cuMemMap(at + kDevicePage, kDevicePage, 0, D::create(kDevicePage), 0);
         cuMemUnmap(at, 2 * kDevicePage);
       }},
      {"UnmapTwice", "cuMemUnmap: .* was not mapped by one call",
       [](D&) {
         const CUdeviceptr at = D::mapped(kDevicePage);
         cuMemUnmap(at, kDevicePage);
         cuMemUnmap(at, kDevicePage);
       }},
      {"FillOfAReservation", "cuMemsetD8Async: .* is reserved and not mapped",
       [](D&) { D::fill(D::reserve(kDevicePage), 10); }},
      {"FillOverTheEndOfAMapping", "cuMemsetD8Async: .* is reserved and not mapped",
       [](D&) {
         const CUdeviceptr at = D::reserve(2 * kDevicePage);
         cuMemMap(at, kDevicePage, 0, D::create(kDevicePage), 0);
         D::allow(at, kDevicePage);
         D::fill(at, kDevicePage + 1);
       }},
      {"FillWithoutAccess", "cuMemsetD8Async: .* allows no access",
       [](D&) {
         const CUdeviceptr at = D::reserve(kDevicePage);
         cuMemMap(at, kDevicePage, 0, D::create(kDevicePage), 0);
         D::fill(at, 10);
       }},
      {"FillOfAFreedReservation", "cuMemsetD8Async: .* was freed",
       [](D&) {
         const CUdeviceptr at = D::reserve(kDevicePage);
         cuMemAddressFree(at, kDevicePage);
         D::fill(at, 10);
       }},
      {"FillOfAFreedAllocation", "cuMemsetD8Async: .* was freed",
       [](D&) {
         const CUdeviceptr at = D::allocate(100);
         cuMemFree(at);
         D::fill(at, 10);
       }},
      {"FillOverTheEndOfAnAllocation", "cuMemsetD8Async: .* extends past the end of its allocation",
       [](D&) { D::fill(D::allocate(100), 101); }},
      {"FillOfNothing", "cuMemsetD8Async: the size is 0", [](D&) { D::fill(D::allocate(10), 0); }},
      {"FillOfHostMemory", "cuMemsetD8Async: fills host memory",
       [](D& driver) { D::fill(reinterpret_cast<CUdeviceptr>(&driver), 1); }},
      {"CopyFromAReservation", "cuMemcpyAsync: .* is reserved and not mapped",
       [](D&) { cuMemcpyAsync(D::allocate(10), D::reserve(kDevicePage), 10, nullptr); }},
      {"CopyToAReservation", "cuMemcpyAsync: .* is reserved and not mapped",
       [](D&) { cuMemcpyAsync(D::reserve(kDevicePage), D::allocate(10), 10, nullptr); }},
      {"CopyFromNull", "cuMemcpyAsync: the address is null",
       [](D&) { cuMemcpyAsync(D::allocate(10), 0, 10, nullptr); }},
      {"UnmapUnderAFill", "cuMemUnmap: something on a stream still uses it",
       [](D&) {
         const CUdeviceptr at = D::mapped(kDevicePage);
         const Hold hold(nullptr);
         D::fill(at + kDevicePage - 1, 1);
         cuMemUnmap(at, kDevicePage);
       }},
      {"FreeUnderACopy", "cuMemFree_v2: something on a stream still uses it",
       [](D&) {
         const CUdeviceptr from = D::allocate(100);
         const CUdeviceptr to = D::allocate(100);
         const Hold hold(nullptr);
         cuMemcpyAsync(to, from, 100, nullptr);
         cuMemFree(from);
       }},
      {"FreeOfPinnedMemoryUnderACopy", "cuMemFreeHost: something on a stream still uses it",
       [](D&) {
         void* pinned = nullptr;
         cuMemHostAlloc(&pinned, 100, 0);
         const CUdeviceptr to = D::allocate(100);
         const Hold hold(nullptr);
         cuMemcpyAsync(to, reinterpret_cast<CUdeviceptr>(pinned), 100, nullptr);
         cuMemFree(to);  // so that the copy does not run
         cuMemFreeHost(pinned);
       }},
      {"UnpinUnderACopy", "cuMemHostUnregister: something on a stream still uses it",
       [](D&) {
         static std::array<std::byte, 100> memory;
         cuMemHostRegister(memory.data(), memory.size(), 0);
         const CUdeviceptr to = D::allocate(100);
         const Hold hold(nullptr);
         cuMemcpyAsync(to, reinterpret_cast<CUdeviceptr>(memory.data()), 100, nullptr);
         cuMemHostUnregister(memory.data());
       }},
      {"FreeTwice", "cuMemFree_v2: .* is not allocated",
       [](D&) {
         const CUdeviceptr at = D::allocate(100);
         cuMemFree(at);
         cuMemFree(at);
       }},
      {"FreeOfAnInnerByte", "cuMemFree_v2: .* is not allocated",
       [](D&) { cuMemFree(D::allocate(100) + 1); }},
      {"FreeOfPinnedMemoryTwice", "cuMemFreeHost: the memory was not allocated",
       [](D&) {
         void* pinned = nullptr;
         cuMemHostAlloc(&pinned, 100, 0);
         cuMemFreeHost(pinned);
         cuMemFreeHost(pinned);
       }},
      {"UnpinOfWhatIsNotPinned", "cuMemHostUnregister: the memory was not registered",
       [](D& driver) { cuMemHostUnregister(&driver); }},
      {"AccessByAnotherDevice", "cuMemSetAccess: access by a device that is not current",
       [](D&) {
         const CUdeviceptr at = D::mapped(kDevicePage);
         const CUmemAccessDesc other = {.location = of_device(1).location,
                                        .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
         cuMemSetAccess(at, kDevicePage, &other, 1);
       }},
      {"AllocationOfNothing", "cuMemAlloc_v2: the size is 0", [](D&) { D::allocate(0); }},
      {"AStreamThatBlocksOthers", "cuStreamCreate: the stream must be non-blocking",
       [](D&) {
         CUstream stream = nullptr;
         cuStreamCreate(&stream, CU_STREAM_DEFAULT);
       }},
      {"DestructionOfTheDefaultStream", "cuStreamDestroy_v2: the default stream",
       [](D&) { cuStreamDestroy(nullptr); }},
      {"StreamDestroyedTwice", "cuStreamDestroy_v2: no such stream",
       [](D&) {
         auto* const stream = D::stream();
         cuStreamDestroy(stream);
         cuStreamDestroy(stream);
       }},
      {"FillOnADestroyedStream", "cuMemsetD8Async: no such stream",
       [](D&) {
         auto* const stream = D::stream();
         cuStreamDestroy(stream);
         D::fill(D::allocate(10), 10, stream);
       }},
      {"FillOnAStreamOfAnotherDevice", "cuMemsetD8Async: the stream belongs to another device",
       [](D& driver) {
         auto* const stream = D::stream();
         driver.push_other();
         D::fill(D::allocate(10), 10, stream);
       }},
      {"EventDestroyedTwice", "cuEventDestroy_v2: no such event",
       [](D&) {
         auto* const event = D::event();
         cuEventDestroy(event);
         cuEventDestroy(event);
       }},
      {"RecordOnAnotherDevice",
       "cuEventRecord: the event and the stream belong to different devices",
       [](D& driver) {
         auto* const event = D::event();
         driver.push_other();
         cuEventRecord(event, D::stream());
       }},
      {"PushOfAContextNotRetained", "cuCtxPushCurrent_v2: the context is not retained",
       [](D& driver) {
         cuDevicePrimaryCtxRelease(0);
         cuCtxPushCurrent(driver.context);
       }},
      {"ReleaseOfAContextTwice", "cuDevicePrimaryCtxRelease_v2: released more often than retained",
       [](D&) {
         cuDevicePrimaryCtxRelease(0);
         cuDevicePrimaryCtxRelease(0);
       }},
      {"PopOfNothing", "cuCtxPopCurrent_v2: no context is current",
       [](D& driver) {
         cuCtxPopCurrent(&driver.context);
         cuCtxPopCurrent(&driver.context);
       }},
      {"CallWithoutAContext", "cuMemAlloc_v2: no context is current",
       [](D& driver) {
         cuCtxPopCurrent(&driver.context);
         D::allocate(10);
       }},
      {"CallFromAThreadWithoutAContext", "cuMemAlloc_v2: no context is current",
       [](D&) { std::thread([] { D::allocate(10); }).join(); }},
      {"CallBeforeInit", "cuDeviceGetCount: called before cuInit",
       [](D&) {
         stand_in::reset();
         int count = 0;
         cuDeviceGetCount(&count);
       }},
      {"Leak", "cuDevicePrimaryCtxRelease_v2: the context ends, and there are still 1 reservations",
       [](D& driver) {
         D::reserve(kDevicePage);
         cuCtxPopCurrent(&driver.context);
         cuDevicePrimaryCtxRelease(0);
       }}};
  return all;
}

class StandInReports : public testing::TestWithParam<Misuse> {
 protected:
  void TearDown() override { stand_in::reset(); }

  Driver driver_;
};

TEST_P(StandInReports, Misuse) {
  GetParam().body(driver_);
  EXPECT_THAT(stand_in::violations(), testing::Contains(ContainsRegex(GetParam().reported)));
}

INSTANTIATE_TEST_SUITE_P(All, StandInReports, testing::ValuesIn(misuses()),
                         [](const auto& one) { return std::string(one.param.name); });

class StandIn : public testing::Test {
 protected:
  void TearDown() override { stand_in::reset(); }

  Driver driver_;
};

TEST_F(StandIn, CountsWhatLives) {
  using D = Driver;
  std::array<std::byte, 10> host{};
  void* pinned = nullptr;
  D::mapped(2 * kDevicePage);
  D::reserve(kDevicePage);
  D::create(kDevicePage);
  D::allocate(100);
  D::stream();
  D::event();
  cuMemHostAlloc(&pinned, 10, 0);
  cuMemHostRegister(host.data(), host.size(), 0);
  EXPECT_EQ(stand_in::live(), (stand_in::Live{.reservations = 2,
                                              .pages = 2,
                                              .mappings = 1,
                                              .allocations = 1,
                                              .pinned = 1,
                                              .registered = 1,
                                              .streams = 1,
                                              .events = 1,
                                              .retains = 1,
                                              .pushed = 1,
                                              .bytes = 3 * kDevicePage + 100}));
  EXPECT_THAT(stand_in::violations(), IsEmpty());
}

TEST_F(StandIn, HasNoMoreMemoryThanItWasGiven) {
  CUmemGenericAllocationHandle pages = 0;
  CUdeviceptr at = 0;
  const CUmemAllocationProp property = of_device(0);
  EXPECT_EQ(cuMemCreate(&pages, 9 * kDevicePage, &property, 0), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(cuMemCreate(&pages, 7 * kDevicePage, &property, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAlloc(&at, kDevicePage + 1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(cuMemAlloc(&at, kDevicePage), CUDA_SUCCESS);
  EXPECT_THAT(stand_in::violations(), IsEmpty());
}

TEST_F(StandIn, HasLessFreeWhereTheDriverTakesSome) {
  constexpr std::size_t kMemory = 8 * kDevicePage;
  stand_in::reset({.memory = kMemory, .overhead = kDevicePage});
  EXPECT_EQ(cuInit(0), CUDA_SUCCESS);
  CUcontext context = nullptr;
  EXPECT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxPushCurrent(context), CUDA_SUCCESS);
  std::size_t free = 0;
  std::size_t total = 0;
  EXPECT_EQ(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
  EXPECT_EQ(total, kMemory);
  EXPECT_EQ(free, kMemory - kDevicePage);
}

TEST_F(StandIn, FailsTheCallItIsToldTo) {
  const std::uint64_t before = stand_in::calls();
  std::size_t free = 0;
  std::size_t total = 0;
  stand_in::fail_call(2, CUDA_ERROR_UNKNOWN);
  EXPECT_EQ(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
  EXPECT_EQ(Driver::reserve(kDevicePage), 0U);
  EXPECT_EQ(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
  EXPECT_EQ(stand_in::stop_failing(), "cuMemAddressReserve");
  EXPECT_EQ(stand_in::live().reservations, 0U);
  EXPECT_EQ(stand_in::calls() - before, 3U);

  stand_in::fail_call(1, CUDA_ERROR_UNKNOWN, true);
  EXPECT_EQ(cuMemGetInfo(&free, &total), CUDA_ERROR_UNKNOWN);
  EXPECT_EQ(cuMemGetInfo(&free, &total), CUDA_ERROR_UNKNOWN);
  EXPECT_EQ(stand_in::stop_failing(), "cuMemGetInfo_v2");
}

TEST_F(StandIn, AllowsAccessToSeveralMappingsAtOnce) {
  const CUdeviceptr at = Driver::reserve(2 * kDevicePage);
  for (const CUdeviceptr page : {at, at + kDevicePage}) {
    cuMemMap(page, kDevicePage, 0, Driver::create(kDevicePage), 0);
  }
  EXPECT_EQ(Driver::allow(at, 2 * kDevicePage), CUDA_SUCCESS);
  EXPECT_EQ(Driver::fill(at, 2 * kDevicePage), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(nullptr), CUDA_SUCCESS);
  EXPECT_THAT(stand_in::violations(), IsEmpty());
}

TEST_F(StandIn, RunsAFunctionOfTheHostWhenItsTurnComes) {
  auto* const stream = Driver::stream();
  std::atomic<int> calls{0};
  {
    const Hold hold(stream);
    EXPECT_EQ(
        cuLaunchHostFunc(
            stream, [](void* counted) { ++*static_cast<std::atomic<int>*>(counted); }, &calls),
        CUDA_SUCCESS);
    EXPECT_EQ(calls, 0);
  }
  EXPECT_EQ(cuStreamSynchronize(stream), CUDA_SUCCESS);
  EXPECT_EQ(calls, 1);
}

TEST_F(StandIn, MeasuresTheTimeBetweenEventsThatWereReached) {
  auto* const stream = Driver::stream();
  auto* const begin = Driver::event();
  auto* const end = Driver::event();
  float milliseconds = -1;
  cuEventRecord(begin, stream);
  {
    const Hold hold(stream);
    cuEventRecord(end, stream);
    EXPECT_EQ(cuEventElapsedTime(&milliseconds, begin, end), CUDA_ERROR_NOT_READY);
  }
  cuStreamSynchronize(stream);
  EXPECT_EQ(cuEventElapsedTime(&milliseconds, begin, end), CUDA_SUCCESS);
  EXPECT_GE(milliseconds, 0);
}

// Work that was valid when it was put on the stream, but is not when it runs.
TEST_F(StandIn, ReportsWhatAStreamFindsGone) {
  const CUdeviceptr at = Driver::mapped(kDevicePage);
  {
    const Hold hold(nullptr);
    Driver::fill(at, kDevicePage);
    cuMemUnmap(at, kDevicePage);
  }
  cuStreamSynchronize(nullptr);
  EXPECT_THAT(stand_in::violations(),
              ElementsAre(ContainsRegex("still uses it"), ContainsRegex("^on a stream: ")));
  EXPECT_EQ(stand_in::transfers(), 0U);
}

}  // namespace
}  // namespace tapedeck::tests
