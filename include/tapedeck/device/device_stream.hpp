/// @file
/// `DeviceStream` and `DeviceEvent`: streams and events that are given back by themselves.
#pragma once

#include <utility>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A stream of a device. Thread-safety: as `Device`; moving needs it quiet.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// const DeviceStream copies(device);
/// DeviceEvent arrived(device);
/// arrived.record(copies.handle());
/// device.wait(nullptr, arrived.handle());  // the default stream goes on when it has fired
/// arrived.synchronize();
/// assert(arrived.fired());
/// @endcode
class DeviceStream {
 public:
  /// @throws DeviceError. So below.
  explicit DeviceStream(Device& device) : device_(&device), handle_(device.create_stream()) {}
  DeviceStream(DeviceStream&& other) noexcept
      : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}
  DeviceStream& operator=(DeviceStream&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~DeviceStream() {
    if (handle_ != nullptr) device_->destroy_stream(handle_);
  }

  [[nodiscard]] StreamHandle handle() const noexcept { return handle_; }
  void synchronize() const { device_->synchronize(handle_); }

 private:
  Device* device_;
  StreamHandle handle_;
};

/// A point on a stream that one can wait for. Thread-safety: as `Device`; moving needs it quiet.
class DeviceEvent {
 public:
  /// @throws DeviceError. So below.
  explicit DeviceEvent(Device& device) : device_(&device), handle_(device.create_event()) {}
  DeviceEvent(DeviceEvent&& other) noexcept
      : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}
  DeviceEvent& operator=(DeviceEvent&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~DeviceEvent() {
    if (handle_ != nullptr) device_->destroy_event(handle_);
  }

  [[nodiscard]] EventHandle handle() const noexcept { return handle_; }
  void record(StreamHandle stream) { device_->record(handle_, stream); }
  [[nodiscard]] bool fired() const { return device_->fired(handle_); }
  void synchronize() const { device_->synchronize_event(handle_); }

 private:
  Device* device_;
  EventHandle handle_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
