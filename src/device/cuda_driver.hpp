/// @file
/// The CUDA driver's entry points, looked up at run time.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <string>

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

  /// For other entry points.
  [[nodiscard]] void* handle() const noexcept { return library_; }

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

}  // namespace tapedeck::internal
