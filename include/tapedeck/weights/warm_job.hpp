/// @file
/// `WarmJob`: bringing a model's weights into memory, as a job that can be watched, waited for by
/// tensor, and stopped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::internal {
class WeightsState;
}

namespace tapedeck::inline TAPEDECK_ABI {

class TensorDirectory;

/// A running warm of a `Weights`, which must outlive it. Made by `Weights::start_warm`; one at a
/// time. What a job did stays done: the next one goes on from there.
///
/// Thread-safety: `wait_for`, `progress` and `stop` from any thread; `wait` by one. Every function
/// throws WrongState (`empty`) where the job was moved from.
///
/// @code{.cpp}
/// // compile only
/// tapedeck::Weights weights = tapedeck::Weights::open("llama.gguf");
/// tapedeck::WarmJob job = weights.start_warm({}, layer_order(weights.tensors()));
/// (void)job.wait_for(0);  // the first tensor is there, and decoding may begin on it
/// job.wait().or_throw("bringing in the weights");
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
  [[nodiscard]] WarmResult wait();

  /// Waits until a tensor can be read without waiting for the disk. False where the job ended
  /// before that; `wait` says why. O(chunks of the tensor) where it is there.
  /// @throws InvalidArgument where the model has fewer tensors.
  [[nodiscard]] bool wait_for(std::size_t tensor);

  [[nodiscard]] WarmProgress progress() const;

  /// Asks the job to end; chunks that were begun are finished.
  void stop();

 private:
  friend class Weights;
  class Work;
  WarmJob(internal::WeightsState& weights, WarmOptions options,
          const std::vector<std::uint32_t>& order);
  [[nodiscard]] Work& work() const;

  std::unique_ptr<Work> work_;
};

/// An order in which decoding may begin early: what comes before the layers (embeddings, towers for
/// images and sound), the layers by their number, and what comes after them (the last norm, the
/// head, layers that only draft). O(n log n).
[[nodiscard]] std::vector<std::uint32_t> layer_order(const TensorDirectory& tensors);

}  // namespace tapedeck::inline TAPEDECK_ABI
