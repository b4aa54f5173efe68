#include "tapedeck/gpu/device.hpp"

#include <utility>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/gpu/device_error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

std::string describe(const DeviceError::Facts& facts) {
  std::string text = facts.device + ": " + facts.call;
  if (facts.bytes != 0) text += " (" + to_iec(facts.bytes) + ")";
  return text + " failed: " + facts.name;
}

}  // namespace

DeviceError::DeviceError(Facts facts, std::string advice)
    : Error(describe(facts), std::move(advice)), facts_(std::move(facts)) {}

DeviceUnavailable::DeviceUnavailable(const std::string& message, std::string advice)
    : Error(message, std::move(advice)) {}

Device::Device(DeviceInfo info)
    : info_(std::move(info)), label_(info_.name + " " + std::to_string(info_.ordinal)) {}

Device::~Device() = default;

}  // namespace tapedeck::inline TAPEDECK_ABI
