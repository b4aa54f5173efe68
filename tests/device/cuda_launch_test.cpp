// Whether the entry points of kernels and graphs are what NVIDIA declares and exports. They are
// called on a GPU only.
#include "device/launch_driver.hpp"

#include <cuda.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <type_traits>

#include "base/paths.hpp"
#include "os/child.hpp"

namespace tapedeck::tests {
namespace {

// cuda.h renames functions to those of its own version; none of these took other parameters then.
template <class Entry, class Declared>
constexpr bool kAsDeclared = std::is_same_v<typename Entry::Function, Declared>;

#define TAPEDECK_AS_DECLARED(entry, function) \
  static_assert(kAsDeclared<decltype(internal::LaunchDriver::entry), decltype(function)>)

TAPEDECK_AS_DECLARED(module_load_data, cuModuleLoadData);
TAPEDECK_AS_DECLARED(module_unload, cuModuleUnload);
TAPEDECK_AS_DECLARED(module_get_function, cuModuleGetFunction);
TAPEDECK_AS_DECLARED(launch_kernel, cuLaunchKernel);
TAPEDECK_AS_DECLARED(launch_host_func, cuLaunchHostFunc);
TAPEDECK_AS_DECLARED(stream_begin_capture, cuStreamBeginCapture);
TAPEDECK_AS_DECLARED(stream_end_capture, cuStreamEndCapture);
TAPEDECK_AS_DECLARED(graph_instantiate, cuGraphInstantiate);
TAPEDECK_AS_DECLARED(graph_launch, cuGraphLaunch);
TAPEDECK_AS_DECLARED(graph_exec_destroy, cuGraphExecDestroy);
TAPEDECK_AS_DECLARED(graph_destroy, cuGraphDestroy);
TAPEDECK_AS_DECLARED(mem_alloc_async, cuMemAllocAsync);
TAPEDECK_AS_DECLARED(mem_free_async, cuMemFreeAsync);
TAPEDECK_AS_DECLARED(device_get_default_mem_pool, cuDeviceGetDefaultMemPool);
TAPEDECK_AS_DECLARED(mem_pool_set_attribute, cuMemPoolSetAttribute);
TAPEDECK_AS_DECLARED(mem_pool_trim_to, cuMemPoolTrimTo);
TAPEDECK_AS_DECLARED(event_elapsed_time, cuEventElapsedTime);

#undef TAPEDECK_AS_DECLARED

// As CudaSupport.FindsAllItsEntryPointsInTheToolkitsStub.
TEST(CudaLaunch, FindsAllItsEntryPointsInTheToolkitsStub) {
  const std::filesystem::path path = built_path("toolkit_stub/libcuda.so");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "the toolkit has no stub";
  in_child([&] {
    void* const stub = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(stub, nullptr) << ::dlerror();
    EXPECT_NO_THROW(static_cast<void>(internal::LaunchDriver(stub)));
  });
}

}  // namespace
}  // namespace tapedeck::tests
