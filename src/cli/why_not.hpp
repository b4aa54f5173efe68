// SPDX-License-Identifier: Apache-2.0
/// @file
/// `why_not`: what keeps a device from being used, where the CPU can do its work.
#pragma once

#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::cli {

/// Calls `use`. Returns why the device cannot be used: it or the host has too little memory, or
/// there is no such device. Empty if it can; other errors are thrown.
template <class Use>
[[nodiscard]] std::string why_not(const Use& use) {
  try {
    use();
    return {};
  } catch (const DeviceUnavailable& error) {
    return error.what();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::out_of_memory) throw;
    return error.what();
  }
}

}  // namespace tapedeck::cli
