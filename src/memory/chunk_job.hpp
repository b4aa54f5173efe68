// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ChunkJob`: work that is divided into chunks and done by several threads, such as warming memory
/// or loading a model's weights.
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
#include "os/own_process.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::internal {

/// Distributes chunks to threads, reports progress, and ends at the first of these: a stop request,
/// the deadline, the budget, an error, or an exception.
///
/// Thread-safety: `stop`, `progress` and `wait_until` from any thread; `next_chunk`, `chunk_done`,
/// `end` and `end_over_budget` from the job's own threads; everything else from the owner.
class ChunkJob {
 public:
  ChunkJob(const ChunkJob&) = delete;
  ChunkJob& operator=(const ChunkJob&) = delete;

  void stop() noexcept { stop_.request_stop(); }
  [[nodiscard]] WarmProgress progress() const noexcept;

 protected:
  ChunkJob(WarmOptions options, std::size_t chunks, std::size_t bytes);
  /// A derived class must join the threads in its own destructor, while its members still exist.
  virtual ~ChunkJob() = default;

  [[nodiscard]] const WarmOptions& options() const noexcept { return options_; }

  /// The work of one thread: takes chunks until none is left.
  virtual void work() = 0;
  /// Called when no thread is running any more.
  virtual void all_left() noexcept {}

  /// The number of threads that the options request, limited to the number of chunks.
  [[nodiscard]] std::size_t wanted_threads() const noexcept;
  /// Starts up to `wanted` threads. Having fewer threads only makes the job slower. Returns 0 if at
  /// least one was started, otherwise the errno of the first failure.
  [[nodiscard]] int start_threads(std::size_t wanted);
  void work_here() noexcept;
  /// In a forked child, which lacks the threads, it does not wait for them.
  void join() noexcept;

  /// The index of the next chunk; `nullopt` if the job has ended or no chunk is left.
  [[nodiscard]] std::optional<std::size_t> next_chunk();
  /// Wakes waiting threads and reports progress.
  void chunk_done(std::size_t bytes);
  void end(WarmResult how);
  void end_over_budget(const os::Budget& budget);

  /// Waits until the condition is true or no thread is running any more.
  template <class Condition>
  void wait_until(const Condition& condition) {
    process_.require_here("job");
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == 0 || condition(); });
  }

  /// The result of the job. If an exception ended it, rethrows that. @pre all threads are joined.
  /// @throws WrongState in a forked child.
  [[nodiscard]] WarmResult result();

 private:
  using Clock = std::chrono::steady_clock;

  void keep_thrown() noexcept;
  void report(std::size_t bytes);
  void leave() noexcept;
  [[nodiscard]] double seconds() const noexcept;

  const os::OwnProcess process_;
  const WarmOptions options_;
  const std::size_t chunks_;
  const std::size_t bytes_;
  const Clock::time_point start_ = Clock::now();
  const os::FaultCount faults_ = os::page_faults();
  std::stop_source stop_;

  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> done_{0};
  std::atomic<bool> ended_{false};
  std::mutex progress_mutex_;  // serializes calls of the progress function
  bool progress_threw_ = false;

  std::mutex mutex_;  // guards the next four members
  std::condition_variable changed_;
  std::size_t running_ = 0;
  std::exception_ptr thrown_;
  WarmResult result_;

  std::vector<std::jthread> threads_;
};

}  // namespace tapedeck::internal
