// SPDX-License-Identifier: Apache-2.0
#include "llama/thread_pool.hpp"

#include <algorithm>
#include <utility>

namespace tapedeck::llama {
namespace {

// About 20 microseconds, which is longer than the serial work between two dispatches.
constexpr int kSpins = 1000;

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void Bell::ring() noexcept {
  if (sleepers_.load() == 0) return;
  // A thread that has read the old value but does not sleep yet holds the mutex.
  { const std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

std::uint32_t Bell::wait_while(std::uint32_t seen, int spins) noexcept {
  for (int i = 0; i < spins; ++i) {
    const std::uint32_t now = value_.load(std::memory_order_acquire);
    if (now != seen) return now;
    pause();
  }
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);
  std::uint32_t now = value_.load();
  while (now == seen) {
    changed_.wait(lock);
    now = value_.load();
  }
  sleepers_.fetch_sub(1);
  return now;
}

// The delegated constructor completes the object before any thread starts. If the host cannot start
// another thread, the destructor therefore runs and stops those that were started.
ThreadPool::ThreadPool(unsigned threads) : ThreadPool() {
  threads = std::min(threads, kMostThreads);
  // With more threads than cores, spinning would keep the awaited thread from running.
  // NOLINTNEXTLINE(cppcoreguidelines-prefer-member-initializer): this constructor delegates
  spins_ = threads <= std::thread::hardware_concurrency() ? kSpins : 0;
  workers_.reserve(threads);
  for (std::size_t thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread]() noexcept { work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  dispatched_.set(dispatched_.value() + 1);
  dispatched_.ring();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(Task task) noexcept {
  task_ = std::move(task);
  unfinished_.set(static_cast<std::uint32_t>(workers_.size()));
  dispatched_.set(dispatched_.value() + 1);
  dispatched_.ring();
  task_(0);
  std::uint32_t left = unfinished_.value();
  while (left != 0) left = unfinished_.wait_while(left, spins_);
}

void ThreadPool::work(std::size_t thread) noexcept {
  std::uint32_t seen = 0;
  for (;;) {
    seen = dispatched_.wait_while(seen, spins_);
    if (stopping_) return;
    task_(thread);
    if (unfinished_.subtract_one() == 0) unfinished_.ring();
  }
}

}  // namespace tapedeck::llama
