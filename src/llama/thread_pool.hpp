// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ThreadPool`: a fixed number of threads that share the work of one forward pass.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::llama {

/// A number that threads wait on: they spin for a moment and then sleep. It has cache lines of its
/// own, because all threads read it. It does not use `std::atomic::wait`, which may call
/// sched_yield: a decode step makes no system call except the futex of a condition variable.
class alignas(kLine) Bell {
 public:
  [[nodiscard]] std::uint32_t value() const noexcept { return value_.load(); }
  void set(std::uint32_t value) noexcept { value_.store(value); }
  std::uint32_t subtract_one() noexcept { return value_.fetch_sub(1) - 1; }
  /// Wakes the sleeping threads. Call it after the value has changed. Makes a system call only if a
  /// thread sleeps.
  void ring() noexcept;
  /// Waits until the value is not `seen`, and returns it.
  std::uint32_t wait_while(std::uint32_t seen, int spins) noexcept;

 private:
  // All sequentially consistent: either the sleeper sees the new value, or ring() sees the sleeper.
  std::atomic<std::uint32_t> value_{0};
  std::atomic<std::uint32_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// Runs one function at a time on all its threads. A dispatch allocates nothing, and makes a system
/// call only if a sleeping thread has to be woken.
///
/// Thread-safety: only one thread at a time may dispatch; it does its share of the work. A forked
/// child lacks the threads: there, the calling thread does all of the work, and the pool may be
/// destroyed. Fork while no dispatch is running.
class ThreadPool {
 public:
  static constexpr unsigned kMostThreads = 1024;

  /// @param threads  includes the calling thread: with 1, the pool starts no threads. More than
  /// `kMostThreads` count as that many.
  /// @throws SystemError if the host cannot start another thread; those that were started are
  /// stopped.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] std::size_t threads() const noexcept { return workers_.size() + 1; }

  /// Calls `part(begin, end)` for consecutive parts of `[0, count)`, each on one thread, and
  /// returns when all are done. `cost` is the number of multiplications per item; work that is too
  /// small to be worth waking a thread runs on the calling thread.
  template <class Part>
  void split(std::size_t count, std::size_t cost, Part&& part) noexcept {
    static_assert(std::is_nothrow_invocable_v<Part&, std::size_t, std::size_t>,
                  "an exception on another thread could not be caught");
    const std::size_t parts = std::min({threads(), count, count * cost / kWorthAThread});
    if (parts <= 1 || !has_threads()) {
      if (count != 0) part(std::size_t{0}, count);
      return;
    }
    auto run_part = [&](std::size_t thread) noexcept {
      if (thread < parts) part(count * thread / parts, count * (thread + 1) / parts);
    };
    run(std::ref(run_part));
  }

 private:
  // A few microseconds of work, which is more than handing a part to a spinning thread takes.
  static constexpr std::size_t kWorthAThread = 16'384;

  /// Called with the number of each thread. Always holds a `std::reference_wrapper`, for which
  /// `std::function` allocates nothing.
  using Task = std::function<void(std::size_t thread)>;

  ThreadPool();

  /// Whether this is the process that started the threads, and not a forked child.
  [[nodiscard]] bool has_threads() const noexcept;
  void run(Task task) noexcept;
  void work(std::size_t thread) noexcept;

  Task task_;
  bool stopping_ = false;
  int spins_ = 0;
  struct Bells {
    Bell dispatched;  // the number of dispatches so far
    Bell unfinished;  // the number of workers that have not finished the current dispatch
  };
  std::unique_ptr<Bells> bells_ = std::make_unique<Bells>();
  std::uint32_t process_;  // the number of forks that led to the process of the threads
  std::vector<std::thread> workers_;
};

}  // namespace tapedeck::llama
