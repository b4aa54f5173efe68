/// @file
/// The driver's contexts, kept alive and made current by scope.
#pragma once

#include <cuda.h>

#include "device/cuda_driver.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// The driver's context of a device, which is kept alive as long as this is.
class PrimaryContext {
 public:
  PrimaryContext() = default;
  ~PrimaryContext() {
    if (cuda_ != nullptr) cuda_->primary_release(device_);
  }
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;

  [[nodiscard]] CUresult retain(const CudaDriver& cuda, CUdevice device) noexcept {
    const CUresult result = cuda.primary_retain(&context_, device);
    if (result != CUDA_SUCCESS) return result;
    cuda_ = &cuda;
    device_ = device;
    return result;
  }
  [[nodiscard]] CUcontext get() const noexcept { return context_; }

 private:
  const CudaDriver* cuda_ = nullptr;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
};

/// The context is current as long as this lives; afterwards, what was current before.
class Current {
 public:
  Current(const CudaDriver& cuda, CUcontext context) noexcept
      : cuda_(cuda), result_(cuda.ctx_push_current(context)) {}
  ~Current() {
    CUcontext popped = nullptr;
    if (result_ == CUDA_SUCCESS) cuda_.ctx_pop_current(&popped);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

  [[nodiscard]] CUresult result() const noexcept { return result_; }

 private:
  const CudaDriver& cuda_;
  CUresult result_;
};

}  // namespace tapedeck::internal
