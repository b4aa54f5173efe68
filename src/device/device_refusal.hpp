/// @file
/// Throws what a device refused.
#pragma once

#include <string>

#include "tapedeck/device/device_error.hpp"

namespace tapedeck::internal {

/// @throws DeviceOutOfMemory where the number says so; else DeviceError.
[[noreturn]] void throw_device_refusal(DeviceRefusal::Facts facts, std::string advice);

}  // namespace tapedeck::internal
