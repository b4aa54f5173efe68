// SPDX-License-Identifier: Apache-2.0
/// @file
/// `PagePool`: physical pages of a device, kept for reuse.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Physical pages of one device, all of the same size. Pages that one talk returns serve the next
/// talk without driver calls to create or release pages. Only `trim` releases pages.
///
/// Thread-safety: any thread.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// PagePool pool(device);
/// DeviceBlock keys = DeviceBlock::reserve(pool, 64_MiB);
/// keys.commit(1_MiB);
/// keys.decommit(0);                      // returns the pages to the pool
/// assert(pool.free_bytes() == 1_MiB);
/// assert(pool.trim() == 1_MiB);          // returns them to the device
/// @endcode
class PagePool {
 public:
  /// @param page_bytes  a power of two, at least the device's granularity; 0: the granularity.
  /// @pre the device outlives the pool.
  /// @throws InvalidArgument.
  explicit PagePool(Device& device, std::size_t page_bytes = 0);
  /// @pre every page was returned.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  [[nodiscard]] Device& device() const noexcept { return device_; }
  [[nodiscard]] std::size_t page_bytes() const noexcept { return page_bytes_; }

  /// Returns a free page, or creates one. @throws DeviceError.
  [[nodiscard]] PageHandle take();
  /// Returns a page to the pool. @pre the page is not mapped.
  void give(PageHandle page) noexcept;

  /// Releases the free pages. Returns the number of bytes released.
  std::size_t trim() noexcept;

  // These two take no lock.
  [[nodiscard]] std::size_t held_bytes() const noexcept {  ///< Bytes of all pages, used and free.
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
  std::atomic<std::size_t> held_bytes_ = 0;  // written under the lock
  std::atomic<std::size_t> free_bytes_ = 0;  // written under the lock
};

}  // namespace tapedeck::inline TAPEDECK_ABI
