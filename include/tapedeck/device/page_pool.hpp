/// @file
/// `PagePool`: physical pages of a device, kept to be used again.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Physical pages of one device, all of one size. Those that a talk gave back serve the next one,
/// without a call of the driver that creates or releases; only `trim` releases.
///
/// Thread-safety: any thread.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// PagePool pool(device);
/// DeviceBlock keys = DeviceBlock::reserve(pool, 64_MiB);
/// keys.commit(1_MiB);
/// keys.decommit(0);                      // the pages go back to the pool,
/// assert(pool.free_bytes() == 1_MiB);
/// assert(pool.trim() == 1_MiB);          // and only now to the device
/// @endcode
class PagePool {
 public:
  /// @param page_bytes  a power of two, at least the device's granularity, which is one, too; 0:
  /// that.
  /// @throws InvalidArgument.
  explicit PagePool(Device& device, std::size_t page_bytes = 0);
  /// @pre every page was given back.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  [[nodiscard]] Device& device() const noexcept { return device_; }
  [[nodiscard]] std::size_t page_bytes() const noexcept { return page_bytes_; }

  /// A free page, or a new one. @throws DeviceError.
  [[nodiscard]] PageHandle take();
  /// @pre the page is mapped nowhere.
  void give(PageHandle page) noexcept;

  /// Releases the free pages. Returns bytes.
  std::size_t trim() noexcept;

  // Without a lock.
  [[nodiscard]] std::size_t held_bytes() const noexcept {  ///< Of all pages: used and free.
    return held_bytes_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t free_bytes() const noexcept {
    return free_bytes_.load(std::memory_order_relaxed);
  }

 private:
  Device& device_;
  std::size_t page_bytes_;
  std::mutex mutex_;
  std::vector<PageHandle> free_;
  std::atomic<std::size_t> held_bytes_ = 0;  // written under the lock, both
  std::atomic<std::size_t> free_bytes_ = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
