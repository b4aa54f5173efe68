// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/bus_bandwidth.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "device/bus_trial.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/device_stream.hpp"

namespace tapedeck::internal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostRounds = 15;
constexpr std::size_t kLeastRounds = 5;  // for a slow bus
constexpr std::chrono::milliseconds kLongEnough(100);

double measure_bus(Device& device, std::size_t bytes) {
  const PinnedMemory from(device, bytes);
  const AllocatedMemory to(device, bytes);
  std::memset(from.handle(), 1, bytes);  // unwritten pages may share a single zero page
  const DeviceStream stream(device);
  // After an error a copy may still be running. Only the first error is reported.
  OnFailure settle([&] { static_cast<void>(succeeds([&] { device.synchronize(); })); });
  const auto seconds_of_a_copy = [&] {
    const Clock::time_point start = Clock::now();
    device.copy(to.handle(), from.handle(), bytes, stream.handle());
    stream.synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  static_cast<void>(seconds_of_a_copy());  // warm-up: touches the pages and wakes the bus
  std::vector<double> seconds;
  const Clock::time_point start = Clock::now();
  while (seconds.size() < kLeastRounds ||
         (seconds.size() < kMostRounds && Clock::now() - start < kLongEnough)) {
    seconds.push_back(seconds_of_a_copy());
  }
  settle.completed();
  std::sort(seconds.begin(), seconds.end());
  return static_cast<double>(bytes) / seconds[seconds.size() / 2];
}

}  // namespace

double run_bus_trial(Device& device, std::size_t bytes) {
  while (true) {
    try {
      return measure_bus(device, bytes);
    } catch (const DeviceOutOfMemory&) {
      if (bytes <= kLeastBusTrial) throw;
    }
    bytes /= 2;
  }
}

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

double bus_bandwidth(Device& device) {
  static std::mutex mutex;
  static std::map<std::pair<DeviceKind, unsigned>, double> measured;
  // Held while measuring, because concurrent measurements would share the bus.
  const std::lock_guard lock(mutex);
  const std::pair key(device.info().kind, device.info().ordinal);
  const auto known = measured.find(key);
  if (known != measured.end()) return known->second;
  return measured.emplace(key, internal::run_bus_trial(device)).first->second;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
