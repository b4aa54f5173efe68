#include "tapedeck/device/device.hpp"

#include <utility>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

std::string describe(const DeviceError::Facts& facts) {
  std::string text = facts.device + ": " + facts.call;
  if (facts.bytes != 0) text += " (" + to_iec(facts.bytes) + ")";
  return text + " failed: " + facts.name;
}

}  // namespace

DeviceError::DeviceError(Facts facts, std::string advice)
    : RuntimeError(describe(facts), std::move(advice)), facts_(std::move(facts)) {}

std::vector<ErrorFact> DeviceError::facts() const {
  std::vector<ErrorFact> facts = {{"device", facts_.device},
                                  {"call", facts_.call},
                                  {"number", std::to_string(facts_.number)},
                                  {"name", facts_.name}};
  if (facts_.bytes != 0) facts.push_back({"bytes", std::to_string(facts_.bytes)});
  return facts;
}

DeviceUnavailable::DeviceUnavailable(const std::string& message, std::string advice)
    : Unsupported("device", message, std::move(advice)) {}

Device::Device(DeviceInfo info)
    : info_(std::move(info)), label_(info_.name + " " + std::to_string(info_.ordinal)) {}

Device::~Device() = default;

TAPEDECK_ABI_END
}  // namespace tapedeck
