/// @file
/// Streams and events of a `HostDevice`: a worker for each stream.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Counts its records: each of them is a moment of its own. Thread-safety: any thread.
class HostEvent {
 public:
  /// A new moment, to come.
  [[nodiscard]] std::uint64_t record() { return ++recorded_; }
  /// The last one.
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

/// Runs what is put on it, in order, on a thread of its own; all of it has run when the stream
/// goes. Thread-safety: any thread.
class HostStream {
 public:
  void put(std::function<void()> work);
  /// Waits for what is on it now.
  void synchronize();
  /// Nothing more is put on it; its thread ends with what is there.
  void close() noexcept { worker_.request_stop(); }

 private:
  void run(const std::stop_token& closed);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> work_;
  std::uint64_t put_ = 0;
  std::uint64_t done_ = 0;
  // Last: it runs on all of the above, and to its end before they go.
  std::jthread worker_{[this](const std::stop_token& closed) { run(closed); }};
};

}  // namespace tapedeck::internal
