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

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostRounds = 15;
constexpr std::size_t kLeastRounds = 5;  // of a slow bus
constexpr std::chrono::milliseconds kLongEnough(100);

/// Pinned memory, and as much of the device's.
class Buffers {
 public:
  Buffers(Device& device, std::size_t bytes)
      : device_(device),
        bytes_(bytes),
        from_(device.allocate_pinned(bytes)),
        to_(allocate_or_give_back(device, bytes, from_)) {
    std::memset(from_, 1, bytes);  // pages that were never written may all be one
  }
  ~Buffers() {
    device_.deallocate(to_);
    device_.deallocate_pinned(from_);
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  /// Seconds of one copy.
  [[nodiscard]] double copy(const DeviceStream& stream) {
    const Clock::time_point start = Clock::now();
    device_.copy(to_, from_, bytes_, stream.handle());
    stream.synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  static std::byte* allocate_or_give_back(Device& device, std::size_t bytes, std::byte* pinned) {
    internal::OnFailure undo([&] { device.deallocate_pinned(pinned); });
    std::byte* const at = device.allocate(bytes);
    undo.completed();
    return at;
  }

  Device& device_;
  std::size_t bytes_;
  std::byte* from_;
  std::byte* to_;
};

void wait_for_all(Device& device) noexcept {
  try {
    device.synchronize();
  } catch (const Error&) {  // what went wrong before is told
  }
}

double measure(Device& device, std::size_t bytes) {
  Buffers buffers(device, bytes);
  const DeviceStream stream(device);
  internal::OnFailure settle([&] { wait_for_all(device); });  // a copy may still read and write
  static_cast<void>(buffers.copy(stream));  // the first one pays for pages and a sleeping bus
  std::vector<double> seconds;
  const Clock::time_point start = Clock::now();
  while (seconds.size() < kLeastRounds ||
         (seconds.size() < kMostRounds && Clock::now() - start < kLongEnough)) {
    seconds.push_back(buffers.copy(stream));
  }
  settle.completed();
  std::sort(seconds.begin(), seconds.end());
  return static_cast<double>(bytes) / seconds[seconds.size() / 2];
}

}  // namespace

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal {

double run_bus_trial(Device& device, std::size_t bytes) {
  while (true) {
    try {
      return measure(device, bytes);
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
  // Held while measuring: two at a time would share the bus.
  const std::lock_guard lock(mutex);
  const std::pair key(device.info().kind, device.info().ordinal);
  const auto known = measured.find(key);
  if (known != measured.end()) return known->second;
  return measured.emplace(key, internal::run_bus_trial(device)).first->second;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
