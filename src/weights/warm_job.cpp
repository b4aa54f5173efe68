#include "tapedeck/weights/warm_job.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>
#include <utility>

#include "base/on_failure.hpp"
#include "os/file.hpp"
#include "os/meminfo.hpp"
#include "os/pages.hpp"
#include "os/ring.hpp"
#include "tapedeck/base/error.hpp"
#include "weights/budget_gate.hpp"
#include "weights/chunk_loader.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace os = internal::os;
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kMostThreads = 16;
constexpr unsigned kDirectReads = 8;   // under way at a time, over all threads
constexpr std::size_t kReadAhead = 4;  // chunks

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The chunks that are not ready, those of `order` first.
std::vector<std::size_t> chunks_in_order(const internal::WeightsState& state,
                                         const std::vector<std::uint32_t>& order) {
  std::vector<std::size_t> chunks;
  chunks.reserve(state.chunks());
  std::vector<bool> listed(state.chunks());
  const auto list = [&](std::size_t number) {
    if (!listed[number] && !state.ready(number)) chunks.push_back(number);
    listed[number] = true;
  };
  for (const std::uint32_t tensor : order) {
    const internal::WeightsState::ChunkRange range = state.chunks_of(tensor);
    for (std::size_t number = range.begin; number != range.end; ++number) list(number);
  }
  for (std::size_t number = 0; number != state.chunks(); ++number) list(number);
  return chunks;
}

bool reads_directly(const internal::WeightsState& state) {
  return std::any_of(state.files.begin(), state.files.end(),
                     [](const WeightsFile& file) { return file.way == Way::direct; });
}

}  // namespace

const char* to_string(WarmJobEnd end) noexcept {
  constexpr std::array names = {"complete", "stopped", "past its deadline", "over budget"};
  return names[static_cast<std::size_t>(end)];
}

class WarmJob::Work {
 public:
  Work(internal::WeightsState& state, WarmJobOptions options);
  ~Work();
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  WarmJobResult wait();
  [[nodiscard]] bool wait_for(std::size_t tensor);
  [[nodiscard]] WarmJobProgress progress() const noexcept;
  void stop() noexcept { stop_.request_stop(); }

 private:
  void start_threads();
  void run() noexcept;
  void bring_in();
  [[nodiscard]] std::optional<internal::WeightsChunk> next_chunk();
  void read_ahead(std::size_t place) const;
  [[nodiscard]] bool fits_as_a_whole();
  void chunk_done(const internal::WeightsChunk& chunk);
  void report(std::uint64_t bytes);
  void keep_thrown() noexcept;
  void end_with(WarmJobEnd end);
  void end_over_budget();
  void finish();
  void check_unchanged();

  internal::WeightsState& state_;
  const WarmJobOptions options_;
  const std::vector<std::size_t> chunks_;
  std::vector<std::uint64_t> missing_;  // bytes of each of them that are not in RAM yet
  std::uint64_t total_ = 0;
  const Clock::time_point start_ = Clock::now();
  const os::FaultCount faults_ = os::page_faults();
  std::stop_source stop_;
  internal::BudgetGate gate_;
  unsigned depth_ = 0;

  std::atomic<std::size_t> next_{0};
  std::atomic<std::uint64_t> done_{0};
  std::atomic<bool> ended_{false};
  std::mutex progress_mutex_;  // one call of the progress function at a time
  bool progress_threw_ = false;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::size_t running_ = 0;
  std::exception_ptr error_;
  WarmJobResult result_;

  bool finished_ = false;
  std::vector<std::jthread> threads_;
};

WarmJob::Work::Work(internal::WeightsState& state, WarmJobOptions options)
    : state_(state), options_(std::move(options)), chunks_(chunks_in_order(state, options_.order)) {
  if (state_.job_runs.exchange(true)) {
    throw InvalidArgument("these weights are being warmed already", "wait for that job");
  }
  internal::OnFailure undo([&] { state_.job_runs = false; });
  missing_.reserve(chunks_.size());
  for (const std::size_t number : chunks_) {
    const internal::WeightsChunk chunk = state_.chunk(number);
    total_ += chunk.memory.size();
    missing_.push_back(internal::most_missing_bytes(state_, chunk));
  }
  result_.asked = total_;
  if (!chunks_.empty() && fits_as_a_whole()) start_threads();
  undo.completed();
}

WarmJob::Work::~Work() {
  stop();
  threads_.clear();
  if (!finished_) state_.job_runs = false;
}

void WarmJob::Work::start_threads() {
  unsigned threads = options_.threads;
  if (threads == 0) threads = std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
  threads = std::min(threads, 1024U);
  if (reads_directly(state_)) {
    if (os::Ring::make(1).ring) {
      depth_ = std::max(kDirectReads / threads, 2U);
    } else if (options_.threads == 0) {
      threads = std::max(threads, kDirectReads);  // each has one read under way
    }
  }
  threads = static_cast<unsigned>(std::min<std::size_t>(threads, chunks_.size()));
  threads_.reserve(threads);
  internal::OnFailure undo([&] {
    stop();
    threads_.clear();
  });
  for (unsigned i = 0; i < threads; ++i) {
    {
      const std::lock_guard lock(mutex_);
      ++running_;
    }
    try {
      threads_.emplace_back([this] { run(); });
    } catch (const std::system_error& error) {
      const std::lock_guard lock(mutex_);
      --running_;
      // Fewer threads are slower, that is all.
      if (i == 0) throw SystemError({.call = "pthread_create", .number = error.code().value()});
      break;
    }
  }
  undo.completed();
}

void WarmJob::Work::run() noexcept {
  try {
    bring_in();
  } catch (...) {
    keep_thrown();
  }
  const std::lock_guard lock(mutex_);
  if (--running_ == 0) result_.seconds = seconds_since(start_);
  changed_.notify_all();
}

void WarmJob::Work::bring_in() {
  internal::ChunkLoader loader(state_, depth_);
  while (const std::optional<internal::WeightsChunk> chunk = next_chunk()) {
#if defined(TAPEDECK_MUTANT_READY_TOO_EARLY)  // a mutant that server_test must catch
    chunk_done(*chunk);
#endif
    if (loader.begin(*chunk)) chunk_done(*chunk);
    while (loader.full()) chunk_done(loader.finish_one());
  }
  while (loader.under_way() != 0) chunk_done(loader.finish_one());
}

std::optional<internal::WeightsChunk> WarmJob::Work::next_chunk() {
  if (ended_) return std::nullopt;
  if (stop_.stop_requested() || options_.stop.stop_requested()) {
    end_with(WarmJobEnd::stopped);
    return std::nullopt;
  }
  if (options_.deadline && Clock::now() >= *options_.deadline) {
    end_with(WarmJobEnd::past_deadline);
    return std::nullopt;
  }
  const std::size_t place = next_.fetch_add(1);
  if (place >= chunks_.size()) return std::nullopt;
  const internal::WeightsChunk chunk = state_.chunk(chunks_[place]);
  if (!gate_.admit(missing_[place]) && !gate_.admit(internal::missing_bytes(state_, chunk))) {
    end_over_budget();
    return std::nullopt;
  }
  read_ahead(place);
  return chunk;
}

// A disk wants more than one request at a time; threads that wait for their own chunk make few.
void WarmJob::Work::read_ahead(std::size_t place) const {
  const std::size_t first = place == 0 ? 0 : place + kReadAhead;
  for (std::size_t i = first; i <= place + kReadAhead && i < chunks_.size(); ++i) {
    const internal::WeightsChunk chunk = state_.chunk(chunks_[i]);
    const Way way = chunk.segment->way;
    if (missing_[i] == 0 || (way != Way::map && way != Way::read)) continue;
    os::read_ahead(state_.open_files[chunk.segment->file].buffered.get(), chunk.begin,
                   chunk.memory.size());
  }
}

// Found out before the first chunk: a model that cannot fit must not fill the host first.
bool WarmJob::Work::fits_as_a_whole() {
  internal::BudgetGate whole;
  if (whole.admit(std::accumulate(missing_.begin(), missing_.end(), std::uint64_t{0}))) return true;
  std::uint64_t missing = 0;
  for (const std::size_t number : chunks_)
    missing += internal::missing_bytes(state_, state_.chunk(number));
  if (whole.admit(missing)) return true;
  const os::Budget budget = whole.last();
  result_.end = WarmJobEnd::over_budget;
  result_.available = budget.available;
  result_.limit = budget.limit;
  return false;
}

void WarmJob::Work::chunk_done(const internal::WeightsChunk& chunk) {
  state_.set_ready(chunk.number, true);
  {
    const std::lock_guard lock(mutex_);  // a waiter has looked, or will look again
  }
  changed_.notify_all();
  report(chunk.memory.size());
}

// Caught while the lock is held: nobody may be told anything once a call has thrown.
void WarmJob::Work::report(std::uint64_t bytes) {
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

// What was thrown first is what `wait` throws.
void WarmJob::Work::keep_thrown() noexcept {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::current_exception();
  ended_ = true;
}

// The first reason to end is the one that is told.
void WarmJob::Work::end_with(WarmJobEnd end) {
  const std::lock_guard lock(mutex_);
  if (!ended_.exchange(true)) result_.end = end;
}

void WarmJob::Work::end_over_budget() {
  const os::Budget budget = gate_.last();
  const std::lock_guard lock(mutex_);
  if (ended_.exchange(true)) return;
  result_.end = WarmJobEnd::over_budget;
  result_.available = budget.available;
  result_.limit = budget.limit;
}

bool WarmJob::Work::wait_for(std::size_t tensor) {
  state_.check_tensor(tensor);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return running_ == 0 || state_.all_ready(tensor); });
  return state_.all_ready(tensor);
}

WarmJobProgress WarmJob::Work::progress() const noexcept {
  return {.done = done_.load(), .total = total_, .seconds = seconds_since(start_)};
}

WarmJobResult WarmJob::Work::wait() {
  threads_.clear();
  if (!finished_) {
    finish();
    finished_ = true;
    state_.job_runs = false;
  }
  if (error_) std::rethrow_exception(error_);
  return result_;
}

void WarmJob::Work::finish() {
  result_.warmed = done_;
  // Who asked it to end when nothing was left to do has it complete.
  if (result_.warmed == total_) result_.end = WarmJobEnd::complete;
  // Also of a part of them, which may be read until the next job goes on.
  if (!error_) check_unchanged();
  const os::FaultCount now = os::page_faults();
  result_.minor_faults = now.minor - faults_.minor;
  result_.major_faults = now.major - faults_.major;
  if (result_.end == WarmJobEnd::over_budget && result_.warmed == 0) return;
  result_.present = 0;
  result_.huge = 0;
  for (const internal::WeightsSegment& segment : state_.segments) {
    const std::span<std::byte> memory = state_.memory_of(segment);
    const auto states = os::page_states(memory.data(), memory.size());
    const auto add = [](std::optional<std::uint64_t>& sum, std::optional<std::size_t> bytes) {
      sum = sum && bytes ? std::optional(*sum + *bytes) : std::nullopt;
    };
    add(result_.present, states ? std::optional(states->present) : std::nullopt);
    add(result_.huge, states ? states->huge : std::nullopt);
  }
}

// Somebody may have written a file while it was read: then memory holds a mixture.
void WarmJob::Work::check_unchanged() {
  for (std::size_t file = 0; file != state_.files.size(); ++file) {
    if (state_.files[file].way == Way::shared) continue;
    const os::FileFacts facts = os::facts(state_.open_files[file].buffered.get());
    const std::string& path = state_.files[file].path.native();
    if (facts.error != 0) {
      error_ = std::make_exception_ptr(
          SystemError({.call = "fstat", .number = facts.error, .path = path}));
    } else if (facts.stamp != state_.open_files[file].stamp) {
      error_ = std::make_exception_ptr(
          FormatError(path, 0, "the file was changed while it was brought in",
                      "whoever writes a model should write a new file and rename it"));
    } else {
      continue;
    }
    for (const internal::WeightsSegment& segment : state_.segments_of(file)) {
      for (std::size_t i = 0; i != segment.chunks(); ++i) {
        state_.set_ready(segment.first_chunk + i, false);
      }
    }
    return;
  }
}

WarmJob::WarmJob(internal::WeightsState& weights, WarmJobOptions options) {
  for (const std::uint32_t tensor : options.order) weights.check_tensor(tensor);
  work_ = std::make_unique<Work>(weights, std::move(options));
}
WarmJob::WarmJob(WarmJob&&) noexcept = default;
WarmJob& WarmJob::operator=(WarmJob&&) noexcept = default;
WarmJob::~WarmJob() = default;

WarmJobResult WarmJob::wait() { return work_->wait(); }
bool WarmJob::wait_for(std::size_t tensor) { return work_->wait_for(tensor); }
WarmJobProgress WarmJob::progress() const noexcept { return work_->progress(); }
void WarmJob::stop() noexcept { work_->stop(); }

TAPEDECK_ABI_END
}  // namespace tapedeck
