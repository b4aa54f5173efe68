// SPDX-License-Identifier: Apache-2.0
/// @file
/// The entry points of the CUDA driver, looked up at run time.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <string>
#include <type_traits>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The address of a symbol. @throws DeviceUnavailable if the library does not export it.
[[nodiscard]] void* cuda_symbol(void* library, const char* name);

/// A function of the driver, and its name.
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

/// The functions that every driver has, so that a driver too old for the others can be queried.
struct CudaLibrary {
  void* handle;
  EntryPoint<int*> driver_get_version{handle, "cuDriverGetVersion"};
  EntryPoint<CUresult, const char**> get_error_name{handle, "cuGetErrorName"};
};

/// The functions that this library calls. Exported names and parameter types are spelled out here,
/// because cuda.h maps function names to those of its own version, which the driver may not have.
struct CudaDriver : CudaLibrary {
  explicit CudaDriver(const CudaLibrary& library) : CudaLibrary(library) {}

  template <class... Parameters>
  using Entry = EntryPoint<Parameters...>;
  using Property = CUmemAllocationProp;
  using Pages = CUmemGenericAllocationHandle;
  using Flags = unsigned long long;
  using Size = std::size_t;

  Entry<unsigned> init{handle, "cuInit"};

  Entry<int*> device_get_count{handle, "cuDeviceGetCount"};
  Entry<CUdevice*, int> device_get{handle, "cuDeviceGet"};
  Entry<char*, int, CUdevice> device_get_name{handle, "cuDeviceGetName"};
  Entry<int*, CUdevice_attribute, CUdevice> device_get_attribute{handle, "cuDeviceGetAttribute"};
  Entry<Size*, CUdevice> device_total_mem{handle, "cuDeviceTotalMem_v2"};

  Entry<CUcontext*, CUdevice> primary_retain{handle, "cuDevicePrimaryCtxRetain"};
  Entry<CUdevice> primary_release{handle, "cuDevicePrimaryCtxRelease_v2"};
  Entry<CUcontext> ctx_push_current{handle, "cuCtxPushCurrent_v2"};
  Entry<CUcontext*> ctx_pop_current{handle, "cuCtxPopCurrent_v2"};
  Entry<> ctx_synchronize{handle, "cuCtxSynchronize"};

  Entry<Size*, Size*> mem_get_info{handle, "cuMemGetInfo_v2"};
  Entry<Size*, const Property*, CUmemAllocationGranularity_flags> mem_granularity{
      handle, "cuMemGetAllocationGranularity"};
  Entry<CUdeviceptr*, Size, Size, CUdeviceptr, Flags> mem_address_reserve{handle,
                                                                          "cuMemAddressReserve"};
  Entry<CUdeviceptr, Size> mem_address_free{handle, "cuMemAddressFree"};
  Entry<Pages*, Size, const Property*, Flags> mem_create{handle, "cuMemCreate"};
  Entry<Pages> mem_release{handle, "cuMemRelease"};
  Entry<CUdeviceptr, Size, Size, Pages, Flags> mem_map{handle, "cuMemMap"};
  Entry<CUdeviceptr, Size> mem_unmap{handle, "cuMemUnmap"};
  Entry<CUdeviceptr, Size, const CUmemAccessDesc*, Size> mem_set_access{handle, "cuMemSetAccess"};
  Entry<CUdeviceptr*, Size> mem_alloc{handle, "cuMemAlloc_v2"};
  Entry<CUdeviceptr> mem_free{handle, "cuMemFree_v2"};

  Entry<void**, Size, unsigned> mem_host_alloc{handle, "cuMemHostAlloc"};
  Entry<void*> mem_free_host{handle, "cuMemFreeHost"};
  Entry<void*, Size, unsigned> mem_host_register{handle, "cuMemHostRegister_v2"};
  Entry<void*> mem_host_unregister{handle, "cuMemHostUnregister"};

  Entry<CUstream*, unsigned> stream_create{handle, "cuStreamCreate"};
  Entry<CUstream> stream_destroy{handle, "cuStreamDestroy_v2"};
  Entry<CUstream> stream_synchronize{handle, "cuStreamSynchronize"};
  Entry<CUstream, CUevent, unsigned> stream_wait_event{handle, "cuStreamWaitEvent"};
  Entry<CUevent*, unsigned> event_create{handle, "cuEventCreate"};
  Entry<CUevent> event_destroy{handle, "cuEventDestroy_v2"};
  Entry<CUevent, CUstream> event_record{handle, "cuEventRecord"};
  Entry<CUevent> event_query{handle, "cuEventQuery"};
  Entry<CUevent> event_synchronize{handle, "cuEventSynchronize"};
  Entry<CUdeviceptr, CUdeviceptr, Size, CUstream> memcpy_async{handle, "cuMemcpyAsync"};
  Entry<CUdeviceptr, unsigned char, Size, CUstream> memset_d8_async{handle, "cuMemsetD8Async"};

  // Kernels and graphs.
  Entry<CUmodule*, const void*> module_load_data{handle, "cuModuleLoadData"};
  Entry<CUmodule> module_unload{handle, "cuModuleUnload"};
  Entry<CUfunction*, CUmodule, const char*> module_get_function{handle, "cuModuleGetFunction"};
  Entry<CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
        void**, void**>
      launch_kernel{handle, "cuLaunchKernel"};

  Entry<CUstream, CUstreamCaptureMode> stream_begin_capture{handle, "cuStreamBeginCapture_v2"};
  Entry<CUstream, CUgraph*> stream_end_capture{handle, "cuStreamEndCapture"};
  Entry<CUgraphExec*, CUgraph, unsigned long long> graph_instantiate{handle,
                                                                     "cuGraphInstantiateWithFlags"};
  Entry<CUgraphExec, CUstream> graph_launch{handle, "cuGraphLaunch"};
  Entry<CUgraphExec> graph_exec_destroy{handle, "cuGraphExecDestroy"};
  Entry<CUgraph> graph_destroy{handle, "cuGraphDestroy"};
};

/// The driver of this process. The first successful call loads it.
/// @throws DeviceUnavailable.
[[nodiscard]] const CudaDriver& cuda_driver();

/// The CUDA version that the driver supports, in the format of `CudaDevice::kLeastDriver`.
/// @throws DeviceUnavailable.
[[nodiscard]] int cuda_version();
/// The version as text: "12.4" for 12040.
[[nodiscard]] std::string version_text(int version);

/// Checks the driver's version, initializes the driver and returns it. Cheap if that is already
/// done. @throws DeviceUnavailable.
const CudaDriver& started_cuda();
/// @pre the driver is started. @throws DeviceUnavailable.
[[nodiscard]] unsigned count_devices();

/// "CUDA_ERROR_OUT_OF_MEMORY", or "CUresult 4711" for a number that the driver does not know.
[[nodiscard]] std::string result_name(CUresult result);

/// Throws the error of a failed call, with advice. @param bytes  the size requested, or 0.
/// @throws DeviceOutOfMemory if the result is CUDA_ERROR_OUT_OF_MEMORY; otherwise DeviceError.
[[noreturn]] void throw_cuda_error(std::string device, CUresult result, const char* call,
                                   std::size_t bytes = 0);

/// Calls an entry point that is not tied to a specific device.
/// @throws DeviceOutOfMemory; DeviceError.
template <class... Parameters>
void call_cuda(const EntryPoint<Parameters...>& entry,
               std::type_identity_t<Parameters>... arguments) {
  const CUresult result = entry(arguments...);
  if (result != CUDA_SUCCESS) throw_cuda_error("CUDA", result, entry.name());
}

}  // namespace tapedeck::internal
