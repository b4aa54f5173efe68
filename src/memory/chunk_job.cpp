// SPDX-License-Identifier: Apache-2.0
#include "memory/chunk_job.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/on_failure.hpp"

namespace tapedeck::internal {

ChunkJob::ChunkJob(WarmOptions options, std::size_t chunks, std::size_t bytes)
    : options_(std::move(options)), chunks_(chunks), bytes_(bytes) {
  result_.asked = bytes;
}

std::size_t ChunkJob::wanted_threads() const noexcept {
  constexpr unsigned kMostOwnThreads = 16;
  const std::size_t wanted =
      options_.threads != 0 ? options_.threads
                            : std::clamp(std::thread::hardware_concurrency(), 1U, kMostOwnThreads);
  return std::min({wanted, chunks_, std::size_t{kMostWarmThreads}});
}

int ChunkJob::start_threads(std::size_t wanted) {
  threads_.reserve(wanted);
  OnFailure undo([&] {
    stop();
    join();
  });
  int error = 0;
  while (threads_.size() < wanted && error == 0) {
    {
      const std::lock_guard lock(mutex_);
      ++running_;
    }
    try {
      threads_.emplace_back([this] {
        work_here();
        leave();
      });
    } catch (const std::system_error& refused) {
      leave();
      error = refused.code().value();
    }
  }
  undo.completed();
  return threads_.empty() ? error : 0;
}

void ChunkJob::join() noexcept {
  if (!process_.is_here()) {
    for (std::jthread& thread : threads_) thread.detach();
  }
  threads_.clear();
}

void ChunkJob::leave() noexcept {
  const std::lock_guard lock(mutex_);
  if (--running_ == 0) {
    result_.seconds = seconds();
    all_left();
  }
  changed_.notify_all();
}

void ChunkJob::work_here() noexcept {
  try {
    work();
  } catch (...) {
    keep_thrown();
  }
}

std::optional<std::size_t> ChunkJob::next_chunk() {
  if (ended_) return std::nullopt;
  if (stop_.stop_requested() || options_.stop.stop_requested()) {
    end({.end = WarmEnd::stopped});
    return std::nullopt;
  }
  if (options_.deadline && Clock::now() >= *options_.deadline) {
    end({.end = WarmEnd::past_deadline});
    return std::nullopt;
  }
  const std::size_t chunk = next_.fetch_add(1);
  return chunk < chunks_ ? std::optional(chunk) : std::nullopt;
}

void ChunkJob::chunk_done(std::size_t bytes) {
  {
    // A waiter has either evaluated its condition before this, or will do so after the lock.
    const std::lock_guard lock(mutex_);
  }
  changed_.notify_all();
  report(bytes);
}

// The exception is caught while the lock is held, so that no call follows one that has thrown.
void ChunkJob::report(std::size_t bytes) {
  const std::lock_guard lock(progress_mutex_);
  done_ += bytes;
  if (!options_.progress || progress_threw_) return;
  try {
    options_.progress(progress());
  } catch (...) {
    progress_threw_ = true;
    keep_thrown();
  }
}

// Keeps the first exception, which `result` rethrows.
void ChunkJob::keep_thrown() noexcept {
  const std::lock_guard lock(mutex_);
  if (!thrown_) thrown_ = std::current_exception();
  ended_ = true;
}

// Only the first reason to end is reported.
void ChunkJob::end(WarmResult how) {
  const std::lock_guard lock(mutex_);
  if (ended_.exchange(true)) return;
  how.asked = bytes_;
  result_ = std::move(how);
}

void ChunkJob::end_over_budget(const os::Budget& budget) {
  end({.end = WarmEnd::over_budget, .available = budget.available, .limit = budget.limit});
}

double ChunkJob::seconds() const noexcept {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

WarmProgress ChunkJob::progress() const noexcept {
  return {.done = done_.load(), .total = bytes_, .seconds = seconds()};
}

WarmResult ChunkJob::result() {
  process_.require_here("job");
  if (thrown_) std::rethrow_exception(thrown_);
  WarmResult out = result_;
  out.warmed = done_;
  // A job that was stopped when no work was left is complete.
  if (out.warmed == bytes_) out.end = WarmEnd::complete;
  if (out.seconds == 0) out.seconds = seconds();
  const os::FaultCount now = os::page_faults();
  out.minor_faults = now.minor - faults_.minor;
  out.major_faults = now.major - faults_.major;
  return out;
}

}  // namespace tapedeck::internal
