// SPDX-License-Identifier: Apache-2.0
#include "device/host_streams.hpp"

#include <utility>

namespace tapedeck::internal {

namespace {

constexpr const char* kStream = "stream of the host device";

}  // namespace

void HostStream::put(std::function<void()> work) {
  process_.require_here(kStream);
  const std::lock_guard lock(mutex_);
  work_.push_back(std::move(work));
  ++put_;
  changed_.notify_all();
}

void HostStream::synchronize() {
  process_.require_here(kStream);
  std::unique_lock lock(mutex_);
  const std::uint64_t now = put_;
  changed_.wait(lock, [&] { return done_ >= now; });
}

void HostStream::close() noexcept {
  if (process_.is_here()) worker_.request_stop();
}

void HostStream::run(const std::stop_token& closed) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, closed, [&] { return !work_.empty(); })) {
    const std::function<void()> next = std::move(work_.front());
    work_.pop_front();
    lock.unlock();
    next();
    lock.lock();
    ++done_;
    changed_.notify_all();
  }
}

}  // namespace tapedeck::internal
