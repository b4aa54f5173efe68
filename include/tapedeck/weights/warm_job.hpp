/// @file
/// `WarmJob`: bringing a model's weights into memory, as a job that can be watched, waited for by
/// tensor, and stopped.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {
class WeightsState;
}

namespace tapedeck {
TAPEDECK_ABI_BEGIN

class TensorDirectory;

struct WarmJobProgress {
  std::uint64_t done = 0;   ///< Bytes, of this job.
  std::uint64_t total = 0;  ///< Bytes that were not ready when it began.
  double seconds = 0;       ///< Since it began.

  [[nodiscard]] double bytes_per_second() const noexcept {
    return seconds > 0 ? static_cast<double>(done) / seconds : 0;
  }
  /// Seconds that are left at that rate; nothing before the first byte.
  [[nodiscard]] std::optional<double> seconds_left() const noexcept {
    if (done == 0) return std::nullopt;
    return static_cast<double>(total - done) / bytes_per_second();
  }
};

struct WarmJobOptions {
  unsigned threads = 0;  ///< 0: as many as the machine has, at most 16.
  /// Tensors (indices into the directory) whose bytes come first, in this order; the others follow
  /// as they lie in their files. `layer_order` makes one.
  std::vector<std::uint32_t> order{};
  std::stop_token stop{};
  /// When the job ends unfinished: nothing is begun after it.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  /// One call at a time, from any of the threads. What it throws ends the job and comes out of
  /// `wait`; it is not called again then.
  std::function<void(const WarmJobProgress&)> progress{};
};

enum class WarmJobEnd : std::uint8_t { complete, stopped, past_deadline, over_budget };

[[nodiscard]] const char* to_string(WarmJobEnd end) noexcept;

/// What a job did. Converts to true when all was made resident.
struct WarmJobResult {
  WarmJobEnd end = WarmJobEnd::complete;
  std::uint64_t asked = 0;   ///< Bytes that were not ready when it began.
  std::uint64_t warmed = 0;  ///< Of these, bytes that are ready now.
  double seconds = 0;
  /// Bytes of all weights that are in RAM afterwards, by the kernel's present bits; nothing where
  /// it does not tell.
  std::optional<std::uint64_t> present{};
  std::optional<std::uint64_t> huge{};  ///< Of these, in huge pages.
  std::uint64_t minor_faults = 0;       ///< Of the whole process meanwhile.
  std::uint64_t major_faults = 0;
  std::uint64_t available = 0;  ///< Where `end` is `over_budget`: bytes that were left,
  std::string limit{};          ///< and what bounds them.

  explicit operator bool() const noexcept { return end == WarmJobEnd::complete; }
};

/// A running warm of a `Weights`, which must outlive it. Made by `Weights::start_warm`; one at a
/// time. What a job did stays done: the next one goes on from there.
///
/// Thread-safety: `wait_for`, `progress` and `stop` from any thread; `wait` by one.
///
/// @code{.cpp}
/// // compile only
/// tapedeck::Weights weights = tapedeck::Weights::open("llama.gguf");
/// tapedeck::WarmJob job = weights.start_warm({.order = layer_order(weights.tensors())});
/// (void)job.wait_for(0);  // the first tensor is there, and decoding may begin on it
/// const tapedeck::WarmJobResult result = job.wait();
/// @endcode
class WarmJob {
 public:
  WarmJob(WarmJob&&) noexcept;
  WarmJob& operator=(WarmJob&&) noexcept;
  /// Stops the job where it still runs, and waits for its threads.
  ~WarmJob();

  /// Waits for the end. Called again, it gives the same.
  /// @throws SystemError, which names file and offset, where the system could not read (EIO) or
  /// give memory (ENOMEM); FormatError where a file ends before its tensors do, or is not the file
  /// any more that was opened; whatever `progress` threw.
  WarmJobResult wait();

  /// Waits until a tensor can be read without waiting for the disk. False where the job ended
  /// before that; `wait` tells why. O(chunks of the tensor) where it is there.
  /// @throws InvalidArgument where the model has fewer tensors.
  [[nodiscard]] bool wait_for(std::size_t tensor);

  [[nodiscard]] WarmJobProgress progress() const noexcept;

  /// Asks the job to end; chunks that were begun are finished.
  void stop() noexcept;

 private:
  friend class Weights;
  class Work;
  WarmJob(internal::WeightsState& weights, WarmJobOptions options);

  std::unique_ptr<Work> work_;
};

/// An order in which decoding may begin early: what comes before the layers (embeddings, towers for
/// images and sound), the layers by their number, and what comes after them (the last norm, the
/// head, layers that only draft). O(n log n).
[[nodiscard]] std::vector<std::uint32_t> layer_order(const TensorDirectory& tensors);

TAPEDECK_ABI_END
}  // namespace tapedeck
