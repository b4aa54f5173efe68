// SPDX-License-Identifier: Apache-2.0
/// @file
/// The errors of devices, and of missing devices.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// The facts of every call that a device refused.
class DeviceRefusal {
 public:
  struct Facts {
    std::string device;     ///< "NVIDIA H200 0", "simulated device 0".
    std::string call;       ///< The entry point: "cuMemCreate".
    int number = 0;         ///< CUresult.
    std::string name;       ///< The name of the number: "CUDA_ERROR_OUT_OF_MEMORY".
    std::size_t bytes = 0;  ///< The size requested, if any.
  };

  [[nodiscard]] const std::string& device() const noexcept { return facts_.device; }
  [[nodiscard]] const std::string& call() const noexcept { return facts_.call; }
  [[nodiscard]] int number() const noexcept { return facts_.number; }
  [[nodiscard]] const std::string& name() const noexcept { return facts_.name; }
  [[nodiscard]] std::size_t bytes() const noexcept { return facts_.bytes; }

  static constexpr int kInvalidValue = 1;  ///< CUDA_ERROR_INVALID_VALUE.
  static constexpr int kOutOfMemory = 2;   ///< CUDA_ERROR_OUT_OF_MEMORY.

  /// @throws DeviceOutOfMemory if the number is `kOutOfMemory`; otherwise DeviceError.
  [[noreturn]] static void throw_refusal(Facts facts, std::string advice);

 protected:
  explicit DeviceRefusal(Facts facts) : facts_(std::move(facts)) {}
  ~DeviceRefusal() = default;
  DeviceRefusal(const DeviceRefusal&) = default;
  DeviceRefusal& operator=(const DeviceRefusal&) = default;

  [[nodiscard]] std::vector<ErrorFact> refusal_facts() const;

 private:
  Facts facts_;
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// A device refused a call for a reason other than lack of memory. Thread-safety: immutable.
class DeviceError : public internal::RuntimeError, public internal::DeviceRefusal {
 public:
  explicit DeviceError(Facts facts, std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::device; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override { return refusal_facts(); }
};

/// A device refused a call for lack of memory: the device is full, its configured memory limit is
/// reached, or the host has no more memory to pin. Thread-safety: immutable.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device({.memory = 64_MiB});
/// try {
///   (void)device.allocate(1_GiB);
/// } catch (const DeviceOutOfMemory& error) {
///   assert(error.bytes() == 1_GiB && error.device() == "simulated device 0");
/// }
/// @endcode
class DeviceOutOfMemory : public internal::BadAlloc, public internal::DeviceRefusal {
 public:
  explicit DeviceOutOfMemory(Facts facts, std::string advice = {});

  [[nodiscard]] std::vector<ErrorFact> facts() const override { return refusal_facts(); }
};

/// A device cannot be used: it does not exist, its driver is missing or too old, or this build does
/// not support it. Thread-safety: immutable.
class DeviceUnavailable : public Unsupported {
 public:
  /// Examples of the missing feature are "CUDA driver" and "unified addressing".
  using Unsupported::Unsupported;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
