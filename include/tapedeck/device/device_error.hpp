/// @file
/// What a device refuses, and where there is none.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

/// A device refused a call. Immutable: safe to read from any thread.
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device({.memory = 64_MiB});
/// try {
///   (void)device.allocate(1_GiB);
/// } catch (const DeviceError& error) {
///   assert(error.out_of_memory() && error.bytes() == 1_GiB && error.device() == "host 0");
/// }
/// @endcode
class DeviceError : public internal::RuntimeError {
 public:
  struct Facts {
    std::string device;     ///< "NVIDIA H200 0", "host 0".
    std::string call;       ///< The entry point: "cuMemCreate".
    int number = 0;         ///< CUresult.
    std::string name;       ///< The same by name: "CUDA_ERROR_OUT_OF_MEMORY".
    std::size_t bytes = 0;  ///< The size asked for, if any.
  };

  explicit DeviceError(Facts facts, std::string advice = {});

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::device; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] const std::string& device() const noexcept { return facts_.device; }
  [[nodiscard]] const std::string& call() const noexcept { return facts_.call; }
  [[nodiscard]] int number() const noexcept { return facts_.number; }
  [[nodiscard]] const std::string& name() const noexcept { return facts_.name; }
  [[nodiscard]] std::size_t bytes() const noexcept { return facts_.bytes; }
  /// The device, or the memory limit it was given, has no room. Nothing else is wrong.
  [[nodiscard]] bool out_of_memory() const noexcept { return facts_.number == kOutOfMemory; }

  static constexpr int kInvalidValue = 1;  ///< CUDA_ERROR_INVALID_VALUE.
  static constexpr int kOutOfMemory = 2;   ///< CUDA_ERROR_OUT_OF_MEMORY.

 private:
  Facts facts_;
};

/// There is no such device, no driver for it, one that is too old, or no support for it in this
/// build. Immutable: safe to read from any thread.
class DeviceUnavailable : public Unsupported {
 public:
  explicit DeviceUnavailable(const std::string& message, std::string advice = {});
};

TAPEDECK_ABI_END
}  // namespace tapedeck
