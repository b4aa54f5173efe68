#include "device/cuda_driver.hpp"

#include <dlfcn.h>

#include "base/on_failure.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::internal {
namespace {

std::string update_advice() {
  return "update NVIDIA's driver to one for CUDA " + version_text(CudaDevice::kLeastDriver) +
         " or later";
}

const char* start_advice(CUresult result) noexcept {
  switch (result) {
    case CUDA_ERROR_NO_DEVICE:
      return "see what nvidia-smi lists, and whether CUDA_VISIBLE_DEVICES hides it";
    case CUDA_ERROR_STUB_LIBRARY:
      return "this is the CUDA toolkit's libcuda.so.1, for linking only: take its folder out of "
             "LD_LIBRARY_PATH";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return "the kernel has another version of NVIDIA's driver: restart after an update";
    default:
      return "see whether nvidia-smi works";
  }
}

template <class... Parameters>
void call(const CudaDriver& cuda, const EntryPoint<Parameters...>& entry, Parameters... arguments) {
  const CUresult result = entry(arguments...);
  if (result == CUDA_SUCCESS) return;
  throw DeviceUnavailable(
      "no CUDA device: " + std::string(entry.name()) + " failed: " + result_name(cuda, result),
      start_advice(result));
}

const CudaDriver* load() {
  void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = ::dlerror();
    throw DeviceUnavailable(
        "no CUDA driver: " + std::string(why != nullptr ? why : "libcuda.so.1 cannot be loaded"),
        "install NVIDIA's driver; a container is started with --gpus");
  }
  OnFailure close([library] { ::dlclose(library); });
  const auto* const driver = new CudaDriver(library);
  close.completed();
  return driver;
}

}  // namespace

void* cuda_symbol(void* library, const char* name) {
  if (void* const found = ::dlsym(library, name)) return found;
  throw DeviceUnavailable("the CUDA driver has no " + std::string(name), update_advice());
}

const CudaDriver& cuda_driver() {
  // Never destroyed: devices in static objects give their memory back while the process ends.
  static const CudaDriver* const driver = load();
  return *driver;
}

int cuda_version(const CudaDriver& cuda) {
  int version = 0;
  call(cuda, cuda.driver_get_version, &version);
  return version;
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

void start_cuda(const CudaDriver& cuda) {
  const int version = cuda_version(cuda);
  if (version < CudaDevice::kLeastDriver) {
    throw DeviceUnavailable("the CUDA driver is for CUDA " + version_text(version) + ", below " +
                                version_text(CudaDevice::kLeastDriver),
                            update_advice());
  }
  call(cuda, cuda.init, 0U);
}

unsigned count_devices(const CudaDriver& cuda) {
  int count = 0;
  call(cuda, cuda.device_get_count, &count);
  return static_cast<unsigned>(count);
}

std::string result_name(const CudaDriver& cuda, CUresult result) {
  const char* name = nullptr;
  if (cuda.get_error_name(result, &name) == CUDA_SUCCESS && name != nullptr) return name;
  return "CUresult " + std::to_string(static_cast<int>(result));
}

}  // namespace tapedeck::internal
