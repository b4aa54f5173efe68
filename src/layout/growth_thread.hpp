/// @file
/// The thread that makes room for talks before they need it.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Does what was asked for, talk by talk; of a talk only what was asked for last.
/// Thread-safety: `ask` from any thread.
class GrowthThread {
 public:
  /// @param grow  makes room for a talk's first `tokens`; must not throw.
  /// @throws SystemError where the host has no more threads.
  GrowthThread(std::size_t talks, std::function<void(std::size_t talk, std::uint64_t tokens)> grow)
      : asked_(talks, 0), grow_(std::move(grow)) {
    try {
      thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    } catch (const std::system_error& error) {
      throw SystemError({.call = "pthread_create", .number = error.code().value()});
    }
  }

  /// Returns at once.
  void ask(std::size_t talk, std::uint64_t tokens) noexcept {
    const std::lock_guard lock(mutex_);
    asked_[talk] = tokens;
    changed_.notify_one();
  }

 private:
  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return next() != asked_.size(); })) {
      const std::size_t talk = next();
      const std::uint64_t tokens = std::exchange(asked_[talk], 0);
      lock.unlock();
      grow_(talk, tokens);
      lock.lock();
    }
  }

  [[nodiscard]] std::size_t next() const noexcept {
    return static_cast<std::size_t>(
        std::find_if(asked_.begin(), asked_.end(), [](std::uint64_t it) { return it != 0; }) -
        asked_.begin());
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::uint64_t> asked_;  // by talk; 0: nothing
  std::function<void(std::size_t, std::uint64_t)> grow_;
  std::jthread thread_;  // last: it uses the others, and ends before them
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
