/// @file
/// `ChunkJob`: work that is cut into chunks and done by several threads. Warming memory and
/// bringing in a model's weights are such jobs.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "os/limits.hpp"
#include "os/meminfo.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::internal {

/// Deals out chunks to threads, reports progress, and ends at the first reason there is: a stop, a
/// deadline, the budget, an error, or an exception.
///
/// Thread-safety: `stop`, `progress` and `wait_until` from any thread; what is protected from the
/// job's own threads; the rest by the owner.
class ChunkJob {
 public:
  ChunkJob(const ChunkJob&) = delete;
  ChunkJob& operator=(const ChunkJob&) = delete;

  void stop() noexcept { stop_.request_stop(); }
  [[nodiscard]] WarmProgress progress() const noexcept;

 protected:
  ChunkJob(WarmOptions options, std::size_t chunks, std::size_t bytes);
  /// A derived class joins its threads in its own destructor, while its members still live.
  virtual ~ChunkJob() = default;

  [[nodiscard]] const WarmOptions& options() const noexcept { return options_; }

  /// One thread's share: takes chunks until there is none.
  virtual void work() = 0;

  /// Threads that the options ask for; never more than there are chunks.
  [[nodiscard]] std::size_t wanted_threads() const noexcept;
  /// Fewer threads are slower, and that is all: it is an error only where not even one began, whose
  /// errno is returned.
  [[nodiscard]] int start_threads(std::size_t wanted);
  void work_here() noexcept;
  void join() noexcept { threads_.clear(); }

  /// The next chunk; nothing where the job ends.
  [[nodiscard]] std::optional<std::size_t> next_chunk();
  /// Wakes those who wait, and reports.
  void chunk_done(std::size_t bytes);
  void end(WarmResult how);
  void end_over_budget(const os::Budget& budget);

  /// Waits until it is so, or no thread works any more.
  template <class Condition>
  void wait_until(const Condition& condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == 0 || condition(); });
  }

  /// What the job did. Throws what ended it, where that was an exception. @pre all threads joined
  [[nodiscard]] WarmResult result();

 private:
  using Clock = std::chrono::steady_clock;

  void keep_thrown() noexcept;
  void report(std::size_t bytes);
  void leave() noexcept;
  [[nodiscard]] double seconds() const noexcept;

  const WarmOptions options_;
  const std::size_t chunks_;
  const std::size_t bytes_;
  const Clock::time_point start_ = Clock::now();
  const os::FaultCount faults_ = os::page_faults();
  std::stop_source stop_;

  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> done_{0};
  std::atomic<bool> ended_{false};
  std::mutex progress_mutex_;  // one call of the progress function at a time
  bool progress_threw_ = false;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::size_t running_ = 0;
  std::exception_ptr thrown_;
  WarmResult result_;

  std::vector<std::jthread> threads_;
};

}  // namespace tapedeck::internal
