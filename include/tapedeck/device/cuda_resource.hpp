// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DeviceTapeResource`: makes a device tape usable by RMM, Thrust and cuDF.
///
/// This header is opt-in and not included by `tapedeck.hpp`. It includes `<cuda/memory_resource>`
/// of CCCL, so the including code needs CCCL's include folder (`include/cccl` in a CUDA toolkit)
/// and `cuda_runtime_api.h`. In the CCCL of CUDA 13.0, `<cuda/memory_resource>` is empty unless
/// `LIBCUDACXX_ENABLE_EXPERIMENTAL_MEMORY_RESOURCE` is defined before any CCCL header is included.
#pragma once

#include <cuda/memory_resource>
#include <cuda/stream_ref>

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device_tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Models `cuda::mr::async_resource_with<device_accessible>` over a `DeviceTape`. Allocation is a
/// take. Deallocation does nothing; `clear()` or `rewind` of the tape releases the memory. Takes
/// are not ordered by streams, since the tape never returns the same memory twice before it is
/// cleared or rewound. Two resources are equal if they use the same tape.
///
/// Thread-safety: that of the tape, one writer at a time.
class DeviceTapeResource {
 public:
  /// @pre the tape outlives the resource and everything allocated from it.
  explicit DeviceTapeResource(DeviceTape& tape) noexcept : tape_(&tape) {}

  /// Allocates `bytes` aligned to at least `align`, a power of two.
  /// @throws TapeFull, which is a std::bad_alloc.
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
