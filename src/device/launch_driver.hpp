/// @file
/// The CUDA driver's entry points for kernels, graphs and stream-ordered memory.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <type_traits>

#include "device/cuda_driver.hpp"

namespace tapedeck::internal {

/// The entry points of kernels, graphs and stream-ordered memory. As `CudaDriver`.
class LaunchDriver {
 public:
  explicit LaunchDriver(void* library) : library_(library) {}

 private:
  void* library_;

  template <class... Parameters>
  using Entry = EntryPoint<Parameters...>;
  using Size = std::size_t;

 public:
  Entry<CUmodule*, const void*> module_load_data{library_, "cuModuleLoadData"};
  Entry<CUmodule> module_unload{library_, "cuModuleUnload"};
  Entry<CUfunction*, CUmodule, const char*> module_get_function{library_, "cuModuleGetFunction"};
  Entry<CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
        void**, void**>
      launch_kernel{library_, "cuLaunchKernel"};
  Entry<CUstream, CUhostFn, void*> launch_host_func{library_, "cuLaunchHostFunc"};

  Entry<CUstream, CUstreamCaptureMode> stream_begin_capture{library_, "cuStreamBeginCapture_v2"};
  Entry<CUstream, CUgraph*> stream_end_capture{library_, "cuStreamEndCapture"};
  Entry<CUgraphExec*, CUgraph, unsigned long long> graph_instantiate{library_,
                                                                     "cuGraphInstantiateWithFlags"};
  Entry<CUgraphExec, CUstream> graph_launch{library_, "cuGraphLaunch"};
  Entry<CUgraphExec> graph_exec_destroy{library_, "cuGraphExecDestroy"};
  Entry<CUgraph> graph_destroy{library_, "cuGraphDestroy"};

  Entry<CUdeviceptr*, Size, CUstream> mem_alloc_async{library_, "cuMemAllocAsync"};
  Entry<CUdeviceptr, CUstream> mem_free_async{library_, "cuMemFreeAsync"};
  Entry<CUmemoryPool*, CUdevice> device_get_default_mem_pool{library_, "cuDeviceGetDefaultMemPool"};
  Entry<CUmemoryPool, CUmemPool_attribute, void*> mem_pool_set_attribute{library_,
                                                                         "cuMemPoolSetAttribute"};
  Entry<CUmemoryPool, Size> mem_pool_trim_to{library_, "cuMemPoolTrimTo"};
  Entry<float*, CUevent, CUevent> event_elapsed_time{library_, "cuEventElapsedTime"};
};

/// Of the driver that `cuda_driver` gives. @throws DeviceUnavailable
[[nodiscard]] const LaunchDriver& launch_driver();

/// @throws DeviceError unless the call succeeded.
void check_cuda(CUresult result, const char* call);

/// Calls an entry point. @throws DeviceError
template <class... Parameters>
void call_cuda(const EntryPoint<Parameters...>& entry,
               std::type_identity_t<Parameters>... arguments) {
  check_cuda(entry(arguments...), entry.name());
}

}  // namespace tapedeck::internal
