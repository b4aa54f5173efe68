// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/warm_job.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <utility>

#include "base/amounts.hpp"
#include "base/on_failure.hpp"
#include "memory/chunk_job.hpp"
#include "memory/warm_pages.hpp"
#include "os/file.hpp"
#include "os/pages.hpp"
#include "os/resident_ledger.hpp"
#include "os/ring.hpp"
#include "os/thread.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/error.hpp"
#include "weights/chunk_loader.hpp"
#include "weights/missing_bytes.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

constexpr std::size_t kDirectReads = 8;  // under way at once, over all threads
constexpr std::size_t kReadAhead = 4;    // chunks

struct ChunkList {
  std::vector<std::size_t> numbers{};
  std::size_t bytes = 0;
};

/// The chunks that are not ready: first those of the tensors in `order`, then the others.
ChunkList chunks_in_order(const internal::WeightsState& state,
                          const std::vector<std::uint32_t>& order) {
  ChunkList chunks;
  chunks.numbers.reserve(state.chunks());
  std::vector<bool> listed(state.chunks());
  const auto list = [&](std::size_t number) {
    if (!listed[number] && !state.ready(number)) {
      chunks.numbers.push_back(number);
      chunks.bytes += state.chunk(number).memory.size();
    }
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
  return std::ranges::count(state.files, Way::direct, &WeightsFile::way) != 0;
}

}  // namespace

class WarmJob::Work final : public internal::ChunkJob {
 public:
  Work(internal::WeightsState& state, WarmOptions options, ChunkList chunks)
      : ChunkJob(std::move(options), chunks.numbers.size(), chunks.bytes),
        state_(state),
        bytes_(chunks.bytes),
        chunks_(std::move(chunks.numbers)) {
    if (state_.job_runs.exchange(true)) {
      throw WrongState("weights", ObjectState::busy,
                       "another job is already bringing in these weights",
                       "wait for that job or stop it");
    }
    internal::OnFailure undo([&] { state_.job_runs = false; });
    missing_.reserve(chunks_.size());
    for (const std::size_t number : chunks_) {
      missing_.push_back(internal::most_missing_bytes(state_, state_.chunk(number)));
    }
    find_uncached();
    if (!chunks_.empty() && fits_as_a_whole()) start();
    undo.completed();
  }
  ~Work() override {
    stop();
    join();
    if (!finished_) state_.job_runs = false;
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  [[nodiscard]] bool wait_for(std::size_t tensor) {
    state_.check_tensor(tensor);
    wait_until([&] { return state_.all_ready(tensor); });
    return state_.all_ready(tensor);
  }

  [[nodiscard]] WarmResult wait() {
    join();
    if (!finished_) {
      try {
        result_ = finish();
      } catch (...) {
        error_ = std::current_exception();
      }
      finished_ = true;
      state_.job_runs = false;
    }
    if (error_) std::rethrow_exception(error_);
    return result_;
  }

 private:
  void start() {
    std::size_t threads = wanted_threads();
    if (reads_directly(state_)) {
      if (os::Ring::make(1)) {
        depth_ = std::max<std::size_t>(kDirectReads / threads, 2);
      } else if (options().threads == 0) {
        // Without a ring, each thread has one read under way.
        threads = std::min(std::max(threads, kDirectReads), chunks_.size());
      }
    }
    if (const int error = start_threads(threads); error != 0) {
      throw SystemError({.call = "pthread_create", .number = error, .object = "warming weights"},
                        os::kThreadAdvice);
    }
  }

  void work() override {
    internal::ChunkLoader loader(state_, static_cast<unsigned>(depth_));
    while (const std::optional<std::size_t> place = next_chunk()) {
      const internal::WeightsChunk chunk = state_.chunk(chunks_[*place]);
#if defined(TAPEDECK_MUTANT_READY_TOO_EARLY)  // a mutant that server_test must catch
      chunk_ready(chunk);
#endif
      if (load(loader, chunk, *place)) chunk_ready(chunk);
      while (loader.full()) chunk_ready(loader.finish_one());
    }
    while (loader.under_way() != 0) chunk_ready(loader.finish_one());
  }

  // What was not brought in is not needed any more.
  void all_left() noexcept override { claim_.release(); }

  /// Returns false if the chunk will be finished later, or if the job has ended.
  [[nodiscard]] bool load(internal::ChunkLoader& loader, const internal::WeightsChunk& chunk,
                          std::size_t place) {
    os::ResidentLedger::Arrival arrival;
    if (is_private(chunk) ? !has_pages(chunk, place) : !may_arrive(chunk, place, arrival))
      return false;
    read_ahead(place);
    return loader.begin(chunk);
  }

  [[nodiscard]] static bool is_private(const internal::WeightsChunk& chunk) {
    return chunk.segment->way == Way::read || chunk.segment->way == Way::direct;
  }

  // The pages come before the read, so that none arrives while the read waits for a disk.
  [[nodiscard]] bool has_pages(const internal::WeightsChunk& chunk, std::size_t place) {
    if (missing_[place] == 0U) return true;  // from the pool of huge pages
    const std::span<std::byte> pages = os::pages_around(chunk.memory);
    const internal::PagesEnd end = internal::populate_pages(pages);
    if (end.refused) {
      end_over_budget(*end.refused);
    } else if (end.error != 0) {
      throw SystemError({.call = "madvise",
                         .number = end.error,
                         .path = state_.path_of(*chunk.segment),
                         .bytes = pages.size(),
                         .offset = chunk.begin});
    }
    return end.error == 0;
  }

  // Where the kernel does not report what is missing, it may be everything. If it was nothing, the
  // next chunk finds the budget as it was.
  [[nodiscard]] bool may_arrive(const internal::WeightsChunk& chunk, std::size_t place,
                                os::ResidentLedger::Arrival& arrival) {
    const std::uint64_t most = missing_[place].value_or(chunk.memory.size());
    std::optional<os::Budget> refused = arrival.begin(most);
    if (refused) refused = arrival.begin(internal::missing_bytes(state_, chunk));
    if (refused) end_over_budget(*refused);
    return !refused;
  }

  // A disk needs several requests at once; threads that each wait for one chunk make too few.
  void read_ahead(std::size_t place) const {
    const std::size_t first = place == 0 ? 0 : place + kReadAhead;
    for (std::size_t i = first; i <= place + kReadAhead && i < chunks_.size(); ++i) {
      const internal::WeightsChunk chunk = state_.chunk(chunks_[i]);
      const Way way = chunk.segment->way;
      // What another thread has read meanwhile is not brought into the page cache again.
      if (state_.ready(chunk.number) || missing_[i] == 0U || (way != Way::map && way != Way::read))
        continue;
      os::read_ahead(state_.descriptor_of(*chunk.segment), chunk.begin, chunk.memory.size());
    }
  }

  // Checked before the first chunk: a model that cannot fit must not fill the host first. Only what
  // is known to be missing counts: a model that may be in the page cache is not refused as a whole.
  [[nodiscard]] bool fits_as_a_whole() {
    std::uint64_t most = 0;
    for (const std::optional<std::uint64_t>& bytes : missing_) most += bytes.value_or(0);
    if (!claim_.add(most)) return true;
    std::uint64_t missing = 0;
    for (std::size_t place = 0; place != chunks_.size(); ++place) {
      if (!missing_[place]) continue;
      missing += internal::missing_bytes(state_, state_.chunk(chunks_[place]));
    }
    const std::optional<os::Budget> refused = claim_.add(missing);
    if (refused) end_over_budget(*refused);
    return !refused;
  }

  // Before any read ahead. Where the kernel does not report what is in the page cache, it may be of
  // use to others, and stays. A file that is read directly may have chunks that cannot be.
  void find_uncached() {
    uncached_.resize(state_.chunks());
    for (const std::size_t number : chunks_) {
      const internal::WeightsChunk chunk = state_.chunk(number);
      const Way way = chunk.segment->way;
      if (way != Way::read && way != Way::direct) continue;
      uncached_[number] = os::cached_file_bytes(state_.descriptor_of(*chunk.segment), chunk.begin,
                                                chunk.memory.size()) == 0U;
    }
  }

  void chunk_ready(const internal::WeightsChunk& chunk) {
    // Otherwise the page cache would hold a second copy, which this job brought in.
    if (uncached_[chunk.number]) {
      os::drop_cached(state_.descriptor_of(*chunk.segment), chunk.begin, chunk.memory.size());
    }
    claim_.reduce(bytes_ - ready_.fetch_add(chunk.memory.size()) - chunk.memory.size());
    state_.set_ready(chunk.number, true);
    chunk_done(chunk.memory.size());
  }

  [[nodiscard]] WarmResult finish() {
    WarmResult out = result();
    // Also for an unfinished job, since the tensors that it brought in are readable.
    require_unchanged();
    if (out.end == WarmEnd::over_budget && out.warmed == 0) return out;
    out.present = 0;
    out.huge = 0;
    for (const internal::WeightsSegment& segment : state_.segments) {
      const std::span<std::byte> memory = state_.memory_of(segment);
      const os::PageStates states = os::page_states(memory.data(), memory.size());
      out.present = internal::known_sum(out.present, states.present);
      out.huge = internal::known_sum(out.huge, states.huge);
    }
    return out;
  }

  // If a file was written to while it was read, memory holds a mixture of old and new bytes.
  void require_unchanged() {
    for (std::size_t file = 0; file != state_.files.size(); ++file) {
      if (state_.files[file].way == Way::shared) continue;
      const os::FileFacts facts = os::facts(state_.open_files[file].buffered.get());
      if (facts.error == 0 && facts.stamp == state_.directory.files()[file].stamp) continue;
      for (const internal::WeightsSegment& segment : state_.segments_of(file)) {
        for (std::size_t i = 0; i != segment.chunks(); ++i) {
          state_.set_ready(segment.first_chunk + i, false);
        }
      }
      const std::string& path = state_.files[file].path.native();
      if (facts.error != 0) {
        throw SystemError({.call = "fstat", .number = facts.error, .path = path});
      }
      throw FormatError({.path = path, .fault = FormatFault::changed},
                        "the file changed while it was being brought in",
                        "write a new model to another file, and then rename that file");
    }
  }

  internal::WeightsState& state_;
  const std::size_t bytes_;
  const std::vector<std::size_t> chunks_;
  std::atomic<std::size_t> ready_{0};  // bytes
  // For each of `chunks_`, the bytes that may not be in RAM.
  std::vector<std::optional<std::uint64_t>> missing_;
  std::vector<bool> uncached_;  // by number: chunks that are read and were not in the page cache
  os::ResidentLedger::Claim claim_;
  std::size_t depth_ = 0;

  bool finished_ = false;
  std::exception_ptr error_;
  WarmResult result_;
};

WarmJob::WarmJob(internal::WeightsState& weights, WarmOptions options,
                 const std::vector<std::uint32_t>& order) {
  for (const std::uint32_t tensor : order) weights.check_tensor(tensor);
  work_ = std::make_unique<Work>(weights, std::move(options), chunks_in_order(weights, order));
}
WarmJob::WarmJob(WarmJob&&) noexcept = default;
WarmJob& WarmJob::operator=(WarmJob&&) noexcept = default;
WarmJob::~WarmJob() = default;

WarmJob::Work& WarmJob::work() const {
  if (work_ == nullptr) {
    throw WrongState("warm job", ObjectState::empty, "this warm job was moved from",
                     "use the job that it was moved to");
  }
  return *work_;
}

WarmResult WarmJob::wait() { return work().wait(); }
bool WarmJob::wait_for(std::size_t tensor) { return work().wait_for(tensor); }
WarmProgress WarmJob::progress() const { return work().progress(); }
void WarmJob::stop() { work().stop(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
