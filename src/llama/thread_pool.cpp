#include "llama/thread_pool.hpp"

#include "base/on_failure.hpp"
#include "os/futex.hpp"

namespace tapedeck::llama {
namespace os = internal::os;
namespace {

// Some 20 microseconds: longer than what one thread does between two dispatches.
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
  if (sleepers_.load() != 0) os::futex_wake_all(value_);
}

std::uint32_t Bell::wait_while(std::uint32_t seen, int spins) noexcept {
  for (int i = 0; i < spins; ++i) {
    const std::uint32_t now = value_.load(std::memory_order_acquire);
    if (now != seen) return now;
    pause();
  }
  sleepers_.fetch_add(1);
  std::uint32_t now = value_.load();
  while (now == seen) {
    os::futex_wait(value_, seen);
    now = value_.load();
  }
  sleepers_.fetch_sub(1);
  return now;
}

// With more threads than cores, to spin is to keep the one we wait for from running.
ThreadPool::ThreadPool(unsigned threads)
    : spins_(threads <= std::thread::hardware_concurrency() ? kSpins : 0) {
  internal::OnFailure undo([this] { stop(); });
  workers_.reserve(threads);
  for (std::size_t thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread]() noexcept { work(thread); });
  }
  undo.completed();
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() noexcept {
  stopping_ = true;
  dispatched_.set(dispatched_.value() + 1);
  dispatched_.ring();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(Task task) noexcept {
  task_ = task;
  unfinished_.set(static_cast<std::uint32_t>(workers_.size()));
  dispatched_.set(dispatched_.value() + 1);
  dispatched_.ring();
  task.call(task.object, 0);
  std::uint32_t left = unfinished_.value();
  while (left != 0) left = unfinished_.wait_while(left, spins_);
}

void ThreadPool::work(std::size_t thread) noexcept {
  std::uint32_t seen = 0;
  for (;;) {
    seen = dispatched_.wait_while(seen, spins_);
    if (stopping_) return;
    task_.call(task_.object, thread);
    if (unfinished_.subtract_one() == 0) unfinished_.ring();
  }
}

}  // namespace tapedeck::llama
