#include "device/host_streams.hpp"

#include <utility>

namespace tapedeck::internal {

HostStream::HostStream() : worker_([this] { run(); }) {}

HostStream::~HostStream() {
  close();
  worker_.join();
}

void HostStream::put(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  work_.push_back(std::move(work));
  ++put_;
  changed_.notify_all();
}

void HostStream::synchronize() {
  std::unique_lock lock(mutex_);
  const std::uint64_t now = put_;
  changed_.wait(lock, [&] { return done_ >= now; });
}

void HostStream::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void HostStream::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closed_ || !work_.empty(); });
    if (work_.empty()) return;
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
