/// @file
/// A thread of a layout or a streamer, which serves its talks or slots.
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

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Serves one after the other, in the order in which they asked. When it ends, all have been
/// served. Thread-safety: any thread.
class LayoutThread {
 public:
  /// @param serve  does what this one of them asked for; must not throw.
  /// @throws SystemError where the host has no more threads.
  LayoutThread(std::size_t those_who_ask, std::function<void(std::size_t who)> serve)
      : is_queued_(those_who_ask, false), queue_(those_who_ask), serve_(std::move(serve)) {
    try {
      thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    } catch (const std::system_error& error) {
      throw SystemError({.call = "pthread_create", .number = error.code().value()});
    }
  }

  /// Returns at once. Who asks twice before the turn has come is served once.
  void ask(std::size_t who) noexcept {
    const std::lock_guard lock(mutex_);
    if (is_queued_[who]) return;
    is_queued_[who] = true;
    queue_[(first_ + queued_++) % queue_.size()] = who;
    changed_.notify_all();
  }
  /// Waits until it has been served, if it has asked.
  void wait_for(std::size_t who) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !is_queued_[who] && served_ != who; });
  }

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

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<bool> is_queued_;
  std::vector<std::size_t> queue_;  // a ring, of which `queued_` are used from `first_` on
  std::size_t first_ = 0;
  std::size_t queued_ = 0;
  std::size_t served_ = kNobody;
  std::function<void(std::size_t)> serve_;
  std::jthread thread_;  // last: it uses the others, and ends before them
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
