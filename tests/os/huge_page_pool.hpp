// SPDX-License-Identifier: Apache-2.0
/// @file
/// The host's pool of huge pages. A test that runs as root can fill it, and it is restored
/// afterwards.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <fstream>
#include <thread>

#include "os/self.hpp"

namespace tapedeck::tests {

[[nodiscard]] inline std::size_t pool_page() {
  return number_of("/proc/meminfo", "Hugepagesize:") * 1024;
}
[[nodiscard]] inline std::size_t pool_free() {
  return number_of("/proc/meminfo", "HugePages_Free:") -
         number_of("/proc/meminfo", "HugePages_Rsvd:");
}

[[nodiscard]] inline std::size_t pool_total() {
  return number_of("/proc/meminfo", "HugePages_Total:");
}

/// Waits until at least this many pages of the pool are free; returns false after ten seconds.
/// Unrelated programs may use some for a moment.
[[nodiscard]] inline bool pool_has(std::size_t pages) {
  for (int i = 0; i < 1000 && pool_free() < pages; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return pool_free() >= pages;
}

/// Adds `more` huge pages to the pool during its lifetime. Only one can exist at a time on a host,
/// across processes, so a test that needs the pool unchanged requests 0. Code that could crash must
/// run in a child.
class HugePagePool {
 public:
  explicit HugePagePool(std::size_t more)
      : lock_(::open(kFile, O_RDONLY | O_CLOEXEC)), before_(number_of(kFile, "")) {
    if (lock_ >= 0) ::flock(lock_, LOCK_EX);
    before_ = number_of(kFile, "");
    if (more == 0) return;
    const std::size_t free = pool_free();
    set(before_ + more + kSpare);
    ready_ = pool_free() >= free + more;
  }
  ~HugePagePool() {
    if (number_of(kFile, "") != before_) set(before_);
    if (lock_ >= 0) ::close(lock_);
  }
  HugePagePool(const HugePagePool&) = delete;
  HugePagePool& operator=(const HugePagePool&) = delete;

  /// Whether all requested pages are available. They are not without root, or if memory is
  /// fragmented.
  [[nodiscard]] bool ready() const { return ready_; }

 private:
  static constexpr std::size_t kSpare = 4;  // for programs that do not know of the lock
  static constexpr const char* kFile = "/proc/sys/vm/nr_hugepages";

  static void set(std::size_t pages) { std::ofstream(kFile) << pages << std::flush; }

  int lock_;
  std::size_t before_;
  bool ready_ = false;
};

}  // namespace tapedeck::tests
