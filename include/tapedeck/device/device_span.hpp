// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DeviceSpan`: elements in device memory.
#pragma once

#include <cassert>
#include <cstddef>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// An address and a count of elements in device memory, to be passed to kernels. The host must not
/// dereference the address, so there is no `operator[]`. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// DeviceTape scratch = DeviceTape::start(device, 1_MiB);
/// const DeviceSpan<float> logits = scratch.take<float>(32'000);
/// const DeviceSpan<float> second = logits.subspan(16'000, 16'000);  // rows of a batch
/// assert(second.data() == logits.data() + 16'000 && second.bytes() == 64'000);
/// @endcode
template <class T>
class DeviceSpan {
 public:
  constexpr DeviceSpan() noexcept = default;
  constexpr DeviceSpan(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }  ///< Elements.
  [[nodiscard]] constexpr std::size_t bytes() const noexcept { return size_ * sizeof(T); }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }

  /// @pre begin + count <= size()
  [[nodiscard]] constexpr DeviceSpan subspan(std::size_t begin, std::size_t count) const noexcept {
    assert(begin <= size_ && count <= size_ - begin);
    return {data_ + begin, count};
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
