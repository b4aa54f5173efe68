// SPDX-License-Identifier: Apache-2.0
/// @file
/// Does something as soon as this thread waits for it, to check that the thread really waits.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "os/self.hpp"

namespace tapedeck::tests {

/// Whether a thread of this process sleeps, according to the kernel.
[[nodiscard]] inline bool is_asleep(pid_t thread) {
  const std::string stat = text_of("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::size_t name_end = stat.rfind(") ");  // a name may contain anything
  return name_end != std::string::npos && stat[name_end + 2] == 'S';
}

/// Calls `act` from another thread when the thread that created this object sleeps, and at the
/// latest in the destructor. A caller that should wait and does not reaches its checks before
/// `act`.
class WhenAsleep {
 public:
  explicit WhenAsleep(std::function<void()> act)
      : thread_([this, caller = static_cast<pid_t>(::syscall(SYS_gettid)), act = std::move(act)] {
          while (!over_ && !is_asleep(caller)) std::this_thread::yield();
          act();
        }) {}
  ~WhenAsleep() {
    over_ = true;
    thread_.join();
  }
  WhenAsleep(const WhenAsleep&) = delete;
  WhenAsleep& operator=(const WhenAsleep&) = delete;

 private:
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

}  // namespace tapedeck::tests
