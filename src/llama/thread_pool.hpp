/// @file
/// A fixed pool of threads for the parts of one forward pass.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::llama {

/// A number that threads wait on: they spin for a moment and then sleep. Lines of its own, since
/// all threads look at it. `std::atomic::wait` is not used: it may call sched_yield, and a decode
/// step makes no system call but a condition variable's futex.
class alignas(kLine) Bell {
 public:
  [[nodiscard]] std::uint32_t value() const noexcept { return value_.load(); }
  void set(std::uint32_t value) noexcept { value_.store(value); }
  std::uint32_t subtract_one() noexcept { return value_.fetch_sub(1) - 1; }
  /// Wakes those that sleep; call it after the value has changed. A system call only if there are
  /// any.
  void ring() noexcept;
  /// Returns when the value is not `seen`, and gives it.
  std::uint32_t wait_while(std::uint32_t seen, int spins) noexcept;

 private:
  // All sequentially consistent: either the sleeper sees the new value, or ring() sees the sleeper.
  std::atomic<std::uint32_t> value_{0};
  std::atomic<std::uint32_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// Runs one function on all its threads at a time. A dispatch allocates nothing and makes no system
/// call unless somebody has to be woken.
///
/// Thread-safety: dispatched from one thread at a time; that thread works too.
class ThreadPool {
 public:
  /// `threads` counts the caller: 1 has no threads of its own.
  /// @throws std::system_error where the host has no more threads; none is left behind.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] std::size_t threads() const noexcept { return workers_.size() + 1; }

  /// Calls `part(begin, end)` for consecutive parts of `[0, count)`, each on one thread, and
  /// returns when all are done. `cost` is that of one item in multiplications: what is not worth
  /// waking anybody runs here.
  template <class Part>
  void split(std::size_t count, std::size_t cost, Part&& part) noexcept {
    static_assert(std::is_nothrow_invocable_v<Part&, std::size_t, std::size_t>,
                  "nobody could catch what a part throws on another thread");
    const std::size_t parts = std::min({threads(), count, count * cost / kWorthAThread});
    if (parts <= 1) {
      if (count != 0) part(std::size_t{0}, count);
      return;
    }
    auto run_part = [&](std::size_t thread) noexcept {
      if (thread < parts) part(count * thread / parts, count * (thread + 1) / parts);
    };
    run(std::ref(run_part));
  }

 private:
  // A few microseconds of work: more than it takes to hand a part to a thread that spins.
  static constexpr std::size_t kWorthAThread = 16'384;

  /// Called with the number of each thread. Of a `std::reference_wrapper`, which takes no memory.
  using Task = std::function<void(std::size_t thread)>;

  ThreadPool() = default;

  void run(Task task) noexcept;
  void work(std::size_t thread) noexcept;

  Task task_;
  bool stopping_ = false;
  int spins_ = 0;
  Bell dispatched_;  // counts dispatches
  Bell unfinished_;  // workers that have not finished this one
  std::vector<std::thread> workers_;
};

}  // namespace tapedeck::llama
