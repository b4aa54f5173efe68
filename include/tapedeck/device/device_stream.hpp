// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DeviceStream` and `DeviceEvent`: owners of a stream and an event, which destroy it at the end.
#pragma once

#include <cstddef>
#include <utility>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Owns a resource that a device creates with `kCreate` and releases with `kGiveBack`. The device
/// must outlive it.
template <class Handle, auto kCreate, auto kGiveBack>
class DeviceOwned {
 public:
  /// @throws DeviceError.
  template <class... Asked>
  explicit DeviceOwned(Device& device, Asked... asked)
      : device_(&device), handle_((device.*kCreate)(asked...)) {}
  DeviceOwned(DeviceOwned&& other) noexcept
      : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}
  DeviceOwned& operator=(DeviceOwned&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~DeviceOwned() {
    if (handle_ != nullptr) (device_->*kGiveBack)(handle_);
  }

  [[nodiscard]] Handle handle() const noexcept { return handle_; }

 protected:
  Device* device_;
  Handle handle_;
};

using AllocatedMemory = DeviceOwned<std::byte*, &Device::allocate, &Device::deallocate>;
using PinnedMemory = DeviceOwned<std::byte*, &Device::allocate_pinned, &Device::deallocate_pinned>;

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// Owns a stream of a device. Thread-safety: as `Device`, except that it must not be used while it
/// is being moved.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// const DeviceStream copies(device);
/// DeviceEvent arrived(device);
/// arrived.record(copies.handle());
/// device.wait(nullptr, arrived.handle());  // the default stream waits for the event
/// arrived.synchronize();
/// assert(arrived.fired());
/// @endcode
class DeviceStream
    : public internal::DeviceOwned<StreamHandle, &Device::create_stream, &Device::destroy_stream> {
 public:
  using DeviceOwned::DeviceOwned;

  /// @throws DeviceError.
  void synchronize() const { device_->synchronize(handle_); }
};

/// Owns an event: a point on a stream that can be waited for. Thread-safety: as `Device`, except
/// that it must not be used while it is being moved.
class DeviceEvent
    : public internal::DeviceOwned<EventHandle, &Device::create_event, &Device::destroy_event> {
 public:
  using DeviceOwned::DeviceOwned;

  /// @throws DeviceError.
  void record(StreamHandle stream) { device_->record(handle_, stream); }
  /// @throws DeviceError.
  [[nodiscard]] bool fired() const { return device_->fired(handle_); }
  /// @throws DeviceError.
  void synchronize() const { device_->synchronize_event(handle_); }
};

}  // namespace tapedeck::inline TAPEDECK_ABI
