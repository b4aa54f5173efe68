// SPDX-License-Identifier: Apache-2.0
/// @file
/// The thread of a layout or a streamer that serves its talks or slots.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <limits>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "os/own_process.hpp"
#include "os/thread.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Serves the requests of its clients (talks or slots, by number) one after the other, in the order
/// in which they arrive. The destructor waits until all requests have been served. A forked child
/// must not destroy it, and nothing is served there.
/// Thread-safety: may be used by any thread.
class LayoutThread {
 public:
  /// @param serve  serves one request of client `who`; must not throw.
  /// @throws SystemError if the thread cannot be created.
  LayoutThread(std::size_t those_who_ask, std::function<void(std::size_t who)> serve)
      : is_queued_(those_who_ask, false), queue_(those_who_ask), serve_(std::move(serve)) {
    thread_ = os::start_thread("a layout that works ahead",
                               [this](const std::stop_token& stop) { work(stop); });
  }

  /// Queues a request of client `who` and returns at once. If it already has a request in the
  /// queue, does nothing.
  void ask(std::size_t who) noexcept {
    const std::lock_guard lock(mutex_);
    if (is_queued_[who]) return;
    is_queued_[who] = true;
    queue_[(first_ + queued_++) % queue_.size()] = who;
    changed_.notify_all();
  }
  /// Waits until client `who` has no request that is queued or being served.
  /// @throws WrongState in a forked child.
  void wait_for(std::size_t who) {
    process_.require_here("layout");
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !is_queued_[who] && served_ != who; });
  }
  [[nodiscard]] bool is_here() const noexcept { return process_.is_here(); }

 private:
  static constexpr std::size_t kNobody = std::numeric_limits<std::size_t>::max();

  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return queued_ != 0; })) {
      const std::size_t who = served_ = queue_[first_];
      first_ = (first_ + 1) % queue_.size();
      --queued_;
      is_queued_[who] = false;
      lock.unlock();
      serve_(who);
      lock.lock();
      served_ = kNobody;
      changed_.notify_all();
    }
  }

  os::OwnProcess process_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<bool> is_queued_;
  std::vector<std::size_t> queue_;  // a ring of `queued_` elements that begins at `first_`
  std::size_t first_ = 0;
  std::size_t queued_ = 0;
  std::size_t served_ = kNobody;
  std::function<void(std::size_t)> serve_;
  std::jthread thread_;  // last, because it uses the other members
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
