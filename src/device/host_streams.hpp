// SPDX-License-Identifier: Apache-2.0
/// @file
/// Streams and events of a `HostDevice`. Each stream has a worker thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "os/own_process.hpp"
#include "os/thread.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// An event that numbers its records; each record is a moment that fires separately. Thread-safety:
/// any thread.
class HostEvent {
 public:
  /// Starts a new moment, which has not fired yet, and returns its number.
  [[nodiscard]] std::uint64_t record() { return ++recorded_; }
  /// The number of the last moment.
  [[nodiscard]] std::uint64_t recorded() const { return recorded_; }
  void fire(std::uint64_t moment) {
    for (std::uint64_t now = fired_; now < moment && !fired_.compare_exchange_weak(now, moment);) {
    }
    fired_.notify_all();
  }
  [[nodiscard]] bool fired() const { return fired_ >= recorded_; }
  void wait_for(std::uint64_t moment) const {
    for (std::uint64_t now = fired_; now < moment; now = fired_) fired_.wait(now);
  }

 private:
  std::atomic<std::uint64_t> recorded_ = 0;
  std::atomic<std::uint64_t> fired_ = 0;
};

/// Runs work in order on a thread of its own. Creating one throws SystemError if the host cannot
/// start another thread. The destructor waits until all work has run. In a
/// forked child, it must not be destroyed; see `OwnedHostStream`.
/// Thread-safety: any thread.
class HostStream {
 public:
  /// @throws WrongState in a forked child.
  void put(std::function<void()> work);
  /// Waits for all work that is on the stream now. @throws WrongState in a forked child.
  void synchronize();
  /// Lets the thread end after the work that is on the stream. Does nothing in a forked child.
  /// @pre no more work is put on it.
  void close() noexcept;

 private:
  void run(const std::stop_token& closed);

  os::OwnProcess process_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> work_;
  std::uint64_t put_ = 0;
  std::uint64_t done_ = 0;
  // The last member: the thread uses all others and is joined before they are destroyed.
  std::jthread worker_ = os::start_thread("a stream of the host device",
                                          [this](const std::stop_token& closed) { run(closed); });
};

using OwnedHostStream = std::unique_ptr<HostStream, os::DeleteInOwnProcess>;

}  // namespace tapedeck::internal
