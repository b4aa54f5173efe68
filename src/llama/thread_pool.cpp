// SPDX-License-Identifier: Apache-2.0
#include "llama/thread_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

// About 20 microseconds, which is longer than the serial work between two dispatches.
constexpr int kSpins = 1000;

// Counted in each forked child, because a dispatch makes no system call to ask for its process.
std::atomic<std::uint32_t> forks{0};
[[maybe_unused]] const int counts_forks = ::pthread_atfork(nullptr, nullptr, [] { ++forks; });

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

ThreadPool::ThreadPool() : process_(forks.load()) {}

// The delegated constructor completes the object before any thread starts. If the host cannot start
// another thread, the destructor therefore runs and stops those that were started.
ThreadPool::ThreadPool(unsigned threads) : ThreadPool() {
  threads = std::min(threads, kMostThreads);
  // With more threads than cores, spinning would keep the awaited thread from running.
  // NOLINTNEXTLINE(cppcoreguidelines-prefer-member-initializer): this constructor delegates
  spins_ = threads <= std::thread::hardware_concurrency() ? kSpins : 0;
  workers_.reserve(threads);
  try {
    for (std::size_t thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread]() noexcept { work(thread); });
    }
  } catch (const std::system_error& error) {
    throw SystemError({.call = "pthread_create",
                       .number = error.code().value(),
                       .object = "thread " + std::to_string(workers_.size() + 1) + " of " +
                                 std::to_string(threads) + " that compute"},
                      "use fewer threads, or raise the limit of processes (ulimit -u)");
  }
}

bool ThreadPool::has_threads() const noexcept { return forks.load() == process_; }

// In a forked child, joining a thread would never end, and neither would destroying what the
// threads of the parent wait on: both are leaked.
ThreadPool::~ThreadPool() {
  if (!has_threads()) {
    for (std::thread& worker : workers_) worker.detach();
    static_cast<void>(bells_.release());
    return;
  }
  stopping_ = true;
  bells_->dispatched.set(bells_->dispatched.value() + 1);
  bells_->dispatched.ring();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(Task task) noexcept {
  task_ = std::move(task);
  bells_->unfinished.set(static_cast<std::uint32_t>(workers_.size()));
  bells_->dispatched.set(bells_->dispatched.value() + 1);
  bells_->dispatched.ring();
  task_(0);
  std::uint32_t left = bells_->unfinished.value();
  while (left != 0) left = bells_->unfinished.wait_while(left, spins_);
}

void ThreadPool::work(std::size_t thread) noexcept {
  std::uint32_t seen = 0;
  for (;;) {
    seen = bells_->dispatched.wait_while(seen, spins_);
    if (stopping_) return;
    task_(thread);
    if (bells_->unfinished.subtract_one() == 0) bells_->unfinished.ring();
  }
}

}  // namespace tapedeck::llama
