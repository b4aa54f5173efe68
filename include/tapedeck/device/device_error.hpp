/// @file
/// What a device refuses, and where there is none.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// What every refusal of a device says.
class DeviceRefusal {
 public:
  struct Facts {
    std::string device;     ///< "NVIDIA H200 0", "host 0".
    std::string call;       ///< The entry point: "cuMemCreate".
    int number = 0;         ///< CUresult.
    std::string name;       ///< The same by name: "CUDA_ERROR_OUT_OF_MEMORY".
    std::size_t bytes = 0;  ///< The size asked for, if any.
  };

  [[nodiscard]] const std::string& device() const noexcept { return facts_.device; }
  [[nodiscard]] const std::string& call() const noexcept { return facts_.call; }
  [[nodiscard]] int number() const noexcept { return facts_.number; }
  [[nodiscard]] const std::string& name() const noexcept { return facts_.name; }
  [[nodiscard]] std::size_t bytes() const noexcept { return facts_.bytes; }

  static constexpr int kInvalidValue = 1;  ///< CUDA_ERROR_INVALID_VALUE.
  static constexpr int kOutOfMemory = 2;   ///< CUDA_ERROR_OUT_OF_MEMORY.

  /// @throws DeviceOutOfMemory where the number says so; else DeviceError.
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

/// A device refused a call, and not for want of memory. Immutable: safe to read from any thread.
class DeviceError : public internal::RuntimeError, public internal::DeviceRefusal {
 public:
  explicit DeviceError(Facts facts, std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::device; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override { return refusal_facts(); }
};

/// The device, the memory limit it was given, or the host that it pins memory of has no room.
/// Nothing else is wrong. Immutable: safe to read from any thread.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device({.memory = 64_MiB});
/// try {
///   (void)device.allocate(1_GiB);
/// } catch (const DeviceOutOfMemory& error) {
///   assert(error.bytes() == 1_GiB && error.device() == "host 0");
/// }
/// @endcode
class DeviceOutOfMemory : public internal::BadAlloc, public internal::DeviceRefusal {
 public:
  explicit DeviceOutOfMemory(Facts facts, std::string advice = {});

  [[nodiscard]] std::vector<ErrorFact> facts() const override { return refusal_facts(); }
};

/// There is no such device, no driver for it, one that is too old, or no support for it in this
/// build. Immutable: safe to read from any thread.
class DeviceUnavailable : public Unsupported {
 public:
  /// The feature that is missing is "CUDA driver", "unified addressing" and the like.
  using Unsupported::Unsupported;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
