#include "device/cuda_driver.hpp"

#include <dlfcn.h>

#include <string_view>
#include <type_traits>
#include <utility>

#include "base/on_failure.hpp"
#include "tapedeck/base/bytes.hpp"
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

std::string free_memory() {
  tapedeck::DeviceMemory memory;
  if (cuda_driver().mem_get_info(&memory.free, &memory.total) != CUDA_SUCCESS) return {};
  return to_iec(memory.free) + " of " + to_iec(memory.total) + " are free: ";
}

std::string advice_on(CUresult result, std::string_view call) {
  switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY:
      if (call.starts_with("cuMemHost")) return "the host has no more memory to pin: pin less";
      return free_memory() + "plan less, or end what else uses the device";
    case CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED:
      return "some of this memory is pinned already";
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
      return "an earlier kernel or copy broke the context, which serves no more: "
             "compute-sanitizer finds it";
    // Kernels are compiled for many devices, and by a toolkit that may be newer than the driver.
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
      return "the kernels were compiled by the toolkit of CUDA " + version_text(CUDA_VERSION) +
             ", and the driver is for CUDA " + version_text(cuda_version()) +
             ": an older driver, or a device that they were not compiled for, does not take them";
    default:
      return {};
  }
}

template <class... Parameters>
void call_to_start(const EntryPoint<Parameters...>& entry, Parameters... arguments) {
  const CUresult result = entry(arguments...);
  if (result == CUDA_SUCCESS) return;
  throw DeviceUnavailable(
      "CUDA device",
      "no CUDA device: " + std::string(entry.name()) + " failed: " + result_name(result),
      start_advice(result));
}

CudaLibrary load() {
  void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = ::dlerror();
    throw DeviceUnavailable(
        "CUDA driver",
        "no CUDA driver: " + std::string(why != nullptr ? why : "libcuda.so.1 cannot be loaded"),
        "install NVIDIA's driver; a container is started with --gpus");
  }
  OnFailure close([library] { ::dlclose(library); });
  const CudaLibrary found{library};
  close.completed();
  return found;
}

// Neither is destroyed or unloaded: devices in static objects give their memory back while the
// process ends.
const CudaLibrary& cuda_library() {
  static const CudaLibrary library = load();
  static_assert(std::is_trivially_destructible_v<CudaDriver>);
  return library;
}

}  // namespace

void* cuda_symbol(void* library, const char* name) {
  if (void* const found = ::dlsym(library, name)) return found;
  throw DeviceUnavailable(name, "the CUDA driver has no " + std::string(name), update_advice());
}

const CudaDriver& cuda_driver() {
  static const CudaDriver driver(cuda_library());
  return driver;
}

int cuda_version() {
  int version = 0;
  call_to_start(cuda_library().driver_get_version, &version);
  return version;
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// A driver that is too old says so, whatever else it lacks.
const CudaDriver& started_cuda() {
  const int version = cuda_version();
  if (version < CudaDevice::kLeastDriver) {
    throw DeviceUnavailable("CUDA " + version_text(CudaDevice::kLeastDriver),
                            "the CUDA driver is for CUDA " + version_text(version) + ", below " +
                                version_text(CudaDevice::kLeastDriver),
                            update_advice());
  }
  const CudaDriver& cuda = cuda_driver();
  call_to_start(cuda.init, 0U);
  return cuda;
}

unsigned count_devices() {
  int count = 0;
  call_to_start(cuda_driver().device_get_count, &count);
  return static_cast<unsigned>(count);
}

std::string result_name(CUresult result) {
  const char* name = nullptr;
  const CUresult known = cuda_library().get_error_name(result, &name);
  if (known == CUDA_SUCCESS && name != nullptr) return name;
  return "CUresult " + std::to_string(static_cast<int>(result));
}

void throw_cuda_error(std::string device, CUresult result, const char* call, std::size_t bytes) {
  DeviceError::throw_refusal({.device = std::move(device),
                              .call = call,
                              .number = static_cast<int>(result),
                              .name = result_name(result),
                              .bytes = bytes},
                             advice_on(result, call));
}

}  // namespace tapedeck::internal
