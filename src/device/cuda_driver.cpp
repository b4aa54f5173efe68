// SPDX-License-Identifier: Apache-2.0
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
  return "update the NVIDIA driver to one that supports CUDA " +
         version_text(CudaDevice::kLeastDriver) + " or later";
}

const char* start_advice(CUresult result) noexcept {
  switch (result) {
    case CUDA_ERROR_NO_DEVICE:
      return "check whether nvidia-smi lists a device and whether CUDA_VISIBLE_DEVICES hides it";
    case CUDA_ERROR_STUB_LIBRARY:
      return "libcuda.so.1 is the CUDA toolkit's stub for linking: remove its folder from "
             "LD_LIBRARY_PATH";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return "the kernel runs a different version of the NVIDIA driver: reboot after an update";
    default:
      return "check whether nvidia-smi works";
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
      return free_memory() + "plan less, or stop other programs that use the device";
    case CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED:
      return "some of this memory is already pinned";
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
      return "an earlier kernel or copy left the context unusable: find it with compute-sanitizer";
    // Kernels are compiled for specific devices, by a toolkit that may be newer than the driver.
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
      return "the kernels were compiled with the toolkit of CUDA " + version_text(CUDA_VERSION) +
             ", and the driver supports CUDA " + version_text(cuda_version()) +
             ": update the driver, or compile the kernels for this device";
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
        "install the NVIDIA driver on the host; if this is a container, restart it with --gpus "
        "all");
  }
  OnFailure close([library] { ::dlclose(library); });
  const CudaLibrary found{library};
  close.completed();
  return found;
}

// The library is never unloaded, and the driver object never destroyed, because devices in static
// objects release their memory while the process exits.
const CudaLibrary& cuda_library() {
  static const CudaLibrary library = load();
  static_assert(std::is_trivially_destructible_v<CudaDriver>);
  return library;
}

}  // namespace

void* cuda_symbol(void* library, const char* name) {
  if (void* const found = ::dlsym(library, name)) return found;
  throw DeviceUnavailable(name, "the CUDA driver does not export " + std::string(name),
                          update_advice());
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

// The version is checked first, so that a driver that is too old gives this error even if it also
// lacks entry points.
const CudaDriver& started_cuda() {
  const int version = cuda_version();
  if (version < CudaDevice::kLeastDriver) {
    throw DeviceUnavailable("CUDA " + version_text(CudaDevice::kLeastDriver),
                            "the CUDA driver supports only CUDA " + version_text(version) +
                                ", which is below " + version_text(CudaDevice::kLeastDriver),
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
