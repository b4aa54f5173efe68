// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/device.hpp"

#include <utility>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

std::vector<ErrorFact> DeviceRefusal::refusal_facts() const {
  std::vector<ErrorFact> facts = {{"device", facts_.device},
                                  {"call", facts_.call},
                                  {"number", std::to_string(facts_.number)},
                                  {"name", facts_.name}};
  if (facts_.bytes != 0) facts.push_back({"bytes", std::to_string(facts_.bytes)});
  return facts;
}

void DeviceRefusal::throw_refusal(Facts facts, std::string advice) {
  if (facts.number == kOutOfMemory) throw DeviceOutOfMemory(std::move(facts), std::move(advice));
  throw DeviceError(std::move(facts), std::move(advice));
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

std::string describe(const internal::DeviceRefusal::Facts& facts) {
  std::string text = facts.device + ": " + facts.call;
  if (facts.bytes != 0) text += " (" + to_iec(facts.bytes) + ")";
  return text + " failed: " + facts.name;
}

}  // namespace

DeviceError::DeviceError(Facts facts, std::string advice)
    : RuntimeError(describe(facts), std::move(advice)), DeviceRefusal(std::move(facts)) {}

DeviceOutOfMemory::DeviceOutOfMemory(Facts facts, std::string advice)
    : BadAlloc(describe(facts), std::move(advice)), DeviceRefusal(std::move(facts)) {}

Device::Device(DeviceInfo info)
    : info_(std::move(info)), label_(info_.name + " " + std::to_string(info_.ordinal)) {}

Device::~Device() = default;

}  // namespace tapedeck::inline TAPEDECK_ABI
