// SPDX-License-Identifier: Apache-2.0
#include "probe.hpp"

namespace tapedeck::gpu_kit {

CUmemAllocationProp pages_of(CUdevice device) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  return properties;
}

CUmemAccessDesc access_by(CUdevice device) {
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = device;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return access;
}

Handles::Handles(const Gpu& gpu, std::size_t count, std::size_t bytes_each)
    : properties_(pages_of(gpu.current.handle())), count_(count), bytes_each_(bytes_each) {
  handles_.reserve(count);
}

void Handles::create() {
  const internal::CudaDriver& cuda = internal::cuda_driver();
  while (handles_.size() < count_) {
    CUmemGenericAllocationHandle handle = 0;
    internal::call_cuda(cuda.mem_create, &handle, bytes_each_, &properties_, 0ULL);
    handles_.push_back(handle);
  }
}

void Handles::release() noexcept {
  for (const CUmemGenericAllocationHandle handle : handles_)
    internal::cuda_driver().mem_release(handle);
  handles_.clear();
}

Mapping::Mapping(const Gpu& gpu, const Handles& handles)
    : handles_(handles), access_(access_by(gpu.current.handle())) {}

Mapping::~Mapping() {
  const internal::CudaDriver& cuda = internal::cuda_driver();
  for (std::size_t i = 0; i < mapped_; ++i) cuda.mem_unmap(at(i), handles_.bytes_each());
  if (at_ != 0) cuda.mem_address_free(at_, handles_.bytes());
}

CUdeviceptr Mapping::at(std::size_t handle) const { return at_ + handle * handles_.bytes_each(); }

void Mapping::reserve() {
  internal::call_cuda(internal::cuda_driver().mem_address_reserve, &at_, handles_.bytes(),
                      std::size_t{0}, CUdeviceptr{0}, 0ULL);
}

void Mapping::map() {
  for (const CUmemGenericAllocationHandle handle : handles_.all()) {
    internal::call_cuda(internal::cuda_driver().mem_map, at(mapped_), handles_.bytes_each(),
                        std::size_t{0}, handle, 0ULL);
    ++mapped_;
  }
}

void Mapping::allow_access(Calls calls) {
  const internal::CudaDriver& cuda = internal::cuda_driver();
  if (calls == Calls::one) {
    internal::call_cuda(cuda.mem_set_access, at_, handles_.bytes(), &access_, std::size_t{1});
    return;
  }
  for (std::size_t i = 0; i < mapped_; ++i) {
    internal::call_cuda(cuda.mem_set_access, at(i), handles_.bytes_each(), &access_,
                        std::size_t{1});
  }
}

void Mapping::unmap(Calls calls) {
  const internal::CudaDriver& cuda = internal::cuda_driver();
  if (calls == Calls::one) {
    internal::call_cuda(cuda.mem_unmap, at_, handles_.bytes());
    mapped_ = 0;
    return;
  }
  for (; mapped_ != 0; --mapped_) {
    internal::call_cuda(cuda.mem_unmap, at(mapped_ - 1), handles_.bytes_each());
  }
}

void Mapping::unreserve() {
  internal::call_cuda(internal::cuda_driver().mem_address_free, at_, handles_.bytes());
  at_ = 0;
}

}  // namespace tapedeck::gpu_kit
