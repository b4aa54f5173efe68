/// @file
/// `DeviceTapeResource`: a device tape for RMM, Thrust and cuDF.
///
/// Opt-in, and no part of `tapedeck.hpp`: it includes `<cuda/memory_resource>` of CCCL, whose
/// include folder (of a CUDA toolkit: `include/cccl`) and `cuda_runtime_api.h` the caller has to
/// have. In the CCCL of CUDA 13.0 that header is empty unless
/// `LIBCUDACXX_ENABLE_EXPERIMENTAL_MEMORY_RESOURCE` is defined before anything of CCCL is included.
#pragma once

#include <cuda/memory_resource>
#include <cuda/stream_ref>

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device_tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Models `cuda::mr::async_resource_with<device_accessible>` over a `DeviceTape`: allocating is a
/// take, and deallocating does nothing: everything goes back at the tape's `clear()` or `rewind`.
/// Takes are not ordered by streams, since no memory is given twice before the tape is cleared.
/// Two are equal where they are over one tape.
///
/// Thread-safety: that of the tape, one writer at a time.
class DeviceTapeResource {
 public:
  /// The tape outlives the resource, and what was allocated from it.
  explicit DeviceTapeResource(DeviceTape& tape) noexcept : tape_(&tape) {}

  /// `bytes` aligned to at least `align`, a power of two. @throws TapeFull, a std::bad_alloc.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t align = kDeviceLine) {
    return tape_->take(bytes, align);
  }
  void deallocate(void* /*at*/, std::size_t /*bytes*/,
                  std::size_t /*align*/ = kDeviceLine) noexcept {}

  [[nodiscard]] void* allocate_async(std::size_t bytes, std::size_t align,
                                     ::cuda::stream_ref /*stream*/) {
    return allocate(bytes, align);
  }
  [[nodiscard]] void* allocate_async(std::size_t bytes, ::cuda::stream_ref /*stream*/) {
    return allocate(bytes);
  }
  void deallocate_async(void* /*at*/, std::size_t /*bytes*/, std::size_t /*align*/,
                        ::cuda::stream_ref /*stream*/) noexcept {}
  void deallocate_async(void* /*at*/, std::size_t /*bytes*/,
                        ::cuda::stream_ref /*stream*/) noexcept {}

  [[nodiscard]] DeviceTape& tape() const noexcept { return *tape_; }

  friend bool operator==(const DeviceTapeResource&, const DeviceTapeResource&) = default;
  friend void get_property(const DeviceTapeResource& /*resource*/,
                           ::cuda::mr::device_accessible /*property*/) noexcept {}

 private:
  DeviceTape* tape_;
};

static_assert(::cuda::mr::resource_with<DeviceTapeResource, ::cuda::mr::device_accessible>);
static_assert(::cuda::mr::async_resource_with<DeviceTapeResource, ::cuda::mr::device_accessible>);

}  // namespace tapedeck::inline TAPEDECK_ABI
