/// @file
/// The CUDA driver's entry points, looked up at run time.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <string>
#include <type_traits>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// @throws DeviceUnavailable where the library has none of that name.
[[nodiscard]] void* cuda_symbol(void* library, const char* name);

/// One function of the driver, and what it is called.
template <class... Parameters>
class EntryPoint {
 public:
  using Function = CUresult(Parameters...);

  EntryPoint(void* library, const char* name)
      : name_(name), function_(reinterpret_cast<Function*>(cuda_symbol(library, name))) {}

  [[nodiscard]] const char* name() const noexcept { return name_; }
  CUresult operator()(Parameters... arguments) const noexcept { return function_(arguments...); }

 private:
  const char* name_;
  Function* function_;
};

/// What this library calls. The names are the exported ones and the parameters stand here, because
/// cuda.h renames functions to those of its own version, which the driver may not have.
class CudaDriver {
 public:
  explicit CudaDriver(void* library) : library_(library) {}

 private:
  void* library_;

  template <class... Parameters>
  using Entry = EntryPoint<Parameters...>;
  using Property = CUmemAllocationProp;
  using Pages = CUmemGenericAllocationHandle;
  using Flags = unsigned long long;
  using Size = std::size_t;

 public:
  // First, so that a driver that is too old for others can be asked.
  Entry<int*> driver_get_version{library_, "cuDriverGetVersion"};
  Entry<unsigned> init{library_, "cuInit"};
  Entry<CUresult, const char**> get_error_name{library_, "cuGetErrorName"};

  Entry<int*> device_get_count{library_, "cuDeviceGetCount"};
  Entry<CUdevice*, int> device_get{library_, "cuDeviceGet"};
  Entry<char*, int, CUdevice> device_get_name{library_, "cuDeviceGetName"};
  Entry<int*, CUdevice_attribute, CUdevice> device_get_attribute{library_, "cuDeviceGetAttribute"};
  Entry<Size*, CUdevice> device_total_mem{library_, "cuDeviceTotalMem_v2"};

  Entry<CUcontext*, CUdevice> primary_retain{library_, "cuDevicePrimaryCtxRetain"};
  Entry<CUdevice> primary_release{library_, "cuDevicePrimaryCtxRelease_v2"};
  Entry<CUcontext> ctx_push_current{library_, "cuCtxPushCurrent_v2"};
  Entry<CUcontext*> ctx_pop_current{library_, "cuCtxPopCurrent_v2"};
  Entry<> ctx_synchronize{library_, "cuCtxSynchronize"};

  Entry<Size*, Size*> mem_get_info{library_, "cuMemGetInfo_v2"};
  Entry<Size*, const Property*, CUmemAllocationGranularity_flags> mem_granularity{
      library_, "cuMemGetAllocationGranularity"};
  Entry<CUdeviceptr*, Size, Size, CUdeviceptr, Flags> mem_address_reserve{library_,
                                                                          "cuMemAddressReserve"};
  Entry<CUdeviceptr, Size> mem_address_free{library_, "cuMemAddressFree"};
  Entry<Pages*, Size, const Property*, Flags> mem_create{library_, "cuMemCreate"};
  Entry<Pages> mem_release{library_, "cuMemRelease"};
  Entry<CUdeviceptr, Size, Size, Pages, Flags> mem_map{library_, "cuMemMap"};
  Entry<CUdeviceptr, Size> mem_unmap{library_, "cuMemUnmap"};
  Entry<CUdeviceptr, Size, const CUmemAccessDesc*, Size> mem_set_access{library_, "cuMemSetAccess"};
  Entry<CUdeviceptr*, Size> mem_alloc{library_, "cuMemAlloc_v2"};
  Entry<CUdeviceptr> mem_free{library_, "cuMemFree_v2"};

  Entry<void**, Size, unsigned> mem_host_alloc{library_, "cuMemHostAlloc"};
  Entry<void*> mem_free_host{library_, "cuMemFreeHost"};
  Entry<void*, Size, unsigned> mem_host_register{library_, "cuMemHostRegister_v2"};
  Entry<void*> mem_host_unregister{library_, "cuMemHostUnregister"};

  Entry<CUstream*, unsigned> stream_create{library_, "cuStreamCreate"};
  Entry<CUstream> stream_destroy{library_, "cuStreamDestroy_v2"};
  Entry<CUstream> stream_synchronize{library_, "cuStreamSynchronize"};
  Entry<CUstream, CUevent, unsigned> stream_wait_event{library_, "cuStreamWaitEvent"};
  Entry<CUevent*, unsigned> event_create{library_, "cuEventCreate"};
  Entry<CUevent> event_destroy{library_, "cuEventDestroy_v2"};
  Entry<CUevent, CUstream> event_record{library_, "cuEventRecord"};
  Entry<CUevent> event_query{library_, "cuEventQuery"};
  Entry<CUevent> event_synchronize{library_, "cuEventSynchronize"};
  Entry<CUdeviceptr, CUdeviceptr, Size, CUstream> memcpy_async{library_, "cuMemcpyAsync"};
  Entry<CUdeviceptr, unsigned char, Size, CUstream> memset_d8_async{library_, "cuMemsetD8Async"};

  // Kernels, graphs and, for what is compared with them, memory that streams order.
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

/// The driver of this process, loaded by the first call that finds it.
/// @throws DeviceUnavailable. So below.
[[nodiscard]] const CudaDriver& cuda_driver();

/// The CUDA version that the driver supports, as `CudaDevice::kLeastDriver`.
[[nodiscard]] int cuda_version(const CudaDriver& cuda);
/// "12.4" for 12040.
[[nodiscard]] std::string version_text(int version);

/// Makes the driver ready for use: cheap where it is.
void start_cuda(const CudaDriver& cuda);
[[nodiscard]] unsigned count_devices(const CudaDriver& cuda);

/// "CUDA_ERROR_OUT_OF_MEMORY"; "CUresult 4711" for a number that the driver does not know.
[[nodiscard]] std::string result_name(const CudaDriver& cuda, CUresult result);

/// Says what a call met, on what, and what to do. @param bytes  those that were asked for, or 0.
/// @throws DeviceOutOfMemory where the result says so; else DeviceError.
[[noreturn]] void throw_cuda_error(const CudaDriver& cuda, std::string device, CUresult result,
                                   const char* call, std::size_t bytes = 0);

/// @throws DeviceError unless the call succeeded, which was not one of a certain device.
void check_cuda(CUresult result, const char* call);

/// Calls an entry point. @throws DeviceError
template <class... Parameters>
void call_cuda(const EntryPoint<Parameters...>& entry,
               std::type_identity_t<Parameters>... arguments) {
  check_cuda(entry(arguments...), entry.name());
}

}  // namespace tapedeck::internal
