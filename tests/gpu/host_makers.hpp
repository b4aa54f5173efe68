/// @file
/// Host devices for suites that hold for every device.
#pragma once

#include <cstddef>
#include <memory>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/gpu/host_device.hpp"

namespace tapedeck::tests {

struct HostMaker {
  static std::unique_ptr<Device> make(std::size_t memory = 0) {
    return std::make_unique<HostDevice>(HostDeviceOptions{.memory = memory});
  }
};

}  // namespace tapedeck::tests
