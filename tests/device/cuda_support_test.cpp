// SPDX-License-Identifier: Apache-2.0
// Hosts without a usable driver, and whether NVIDIA exports all names that the library looks up.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <type_traits>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "os/child.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"

#ifdef TAPEDECK_WITH_CUDA
#include <cuda.h>

#include "device/cuda_driver.hpp"
#endif

namespace tapedeck::tests {
namespace {

// A driver cannot be unloaded, so each case runs in a child.
void expect_none(const char* feature) {
  const CudaSupport support = CudaDevice::support();
  EXPECT_EQ(support.devices, 0U);
  const auto error = thrown<DeviceUnavailable>([&] { const CudaDevice device; });
  EXPECT_EQ(error.feature(), feature);
  EXPECT_EQ(support.why, error.what());
  EXPECT_NE(error.advice(), "");
  if (error.feature() != std::string("CUDA driver")) return;
  EXPECT_EQ(error.advice(),
            "install the NVIDIA driver on the host; if this is a container, restart it with --gpus "
            "all");
}

#ifdef TAPEDECK_WITH_CUDA

// cuda.h renames functions to their newest version. None of these had other parameters before.
template <class Entry, class Declared>
constexpr bool kAsDeclared = std::is_same_v<typename Entry::Function, Declared>;

#define TAPEDECK_AS_DECLARED(entry, function) \
  static_assert(kAsDeclared<decltype(internal::CudaDriver::entry), decltype(function)>)

TAPEDECK_AS_DECLARED(module_load_data, cuModuleLoadData);
TAPEDECK_AS_DECLARED(module_unload, cuModuleUnload);
TAPEDECK_AS_DECLARED(module_get_function, cuModuleGetFunction);
TAPEDECK_AS_DECLARED(launch_kernel, cuLaunchKernel);
TAPEDECK_AS_DECLARED(stream_begin_capture, cuStreamBeginCapture);
TAPEDECK_AS_DECLARED(stream_end_capture, cuStreamEndCapture);
TAPEDECK_AS_DECLARED(graph_instantiate, cuGraphInstantiate);
TAPEDECK_AS_DECLARED(graph_launch, cuGraphLaunch);
TAPEDECK_AS_DECLARED(graph_exec_destroy, cuGraphExecDestroy);
TAPEDECK_AS_DECLARED(graph_destroy, cuGraphDestroy);

#undef TAPEDECK_AS_DECLARED

// After this, dlopen finds this libcuda.so.1 first, among the loaded libraries.
void load_library(const std::filesystem::path& path) {
  ASSERT_NE(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL), nullptr) << ::dlerror();
}

TEST(CudaSupport, SaysThatThereIsNoDriver) {
  in_child([] {
    if (::dlopen("libcuda.so.1", RTLD_LAZY) != nullptr) return;  // this host has a driver
    expect_none("CUDA driver");
    EXPECT_EQ(CudaDevice::support().driver, "");
  });
}

TEST(CudaSupport, NamesWhatADriverLacks) {
  in_child([] {
    load_library(built_path("partial/libcuda.so.1"));
    expect_none("cuDeviceGetCount");
  });
}

TEST(CudaSupport, NamesTheVersionOfADriverThatIsTooOldAndNotWhatItLacks) {
  in_child([] {
    ASSERT_EQ(::setenv("TAPEDECK_PARTIAL_DRIVER", "9000", 1), 0);
    load_library(built_path("partial/libcuda.so.1"));
    expect_none("CUDA 12.0");
    EXPECT_EQ(CudaDevice::support().driver, "9.0");
  });
}

// The toolkit's stub library exports the functions of a driver, and they do nothing. This test
// checks that NVIDIA knows all the names that the library looks up.
TEST(CudaSupport, FindsAllItsEntryPointsInTheToolkitsStub) {
  const std::filesystem::path stub = built_path("toolkit_stub/libcuda.so");
  if (!std::filesystem::exists(stub)) GTEST_SKIP() << "the toolkit has no stub";
  in_child([&] {
    load_library(stub);
    expect_none("CUDA device");
  });
}

#else

TEST(CudaSupport, SaysThatThisBuildHasNone) {
  expect_none("CUDA");
  EXPECT_EQ(CudaDevice::support().driver, "");
}

#endif

}  // namespace
}  // namespace tapedeck::tests
