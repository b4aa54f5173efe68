// SPDX-License-Identifier: Apache-2.0
/// @file
/// `WarmJob`: a job that brings a model's weights into memory. It can be watched, waited for tensor
/// by tensor, and stopped.
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

/// A running warm of a `Weights`, which must outlive it. `Weights::start_warm` creates it; only one
/// can run at a time. The next job continues where a job ended.
///
/// Thread-safety: `wait_for`, `progress` and `stop` from any thread; `wait` from one thread. Every
/// function throws WrongState (`empty`) if the job was moved from. A forked child lacks the
/// threads: there, `wait` and `wait_for` throw WrongState (`forked`), and the destructor does not
/// wait.
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
  /// Stops the job if it is still running, and waits for its threads.
  ~WarmJob();

  /// Waits for the job to end. Later calls return or throw the same.
  /// @throws SystemError, with file and offset, if the system could not read (EIO) or provide
  /// memory (ENOMEM); FormatError if a file ends before its tensors do, or has changed since it was
  /// opened; whatever `WarmOptions::progress` threw.
  [[nodiscard]] WarmResult wait();

  /// Waits until a tensor can be read without waiting for the disk. Returns false if the job ended
  /// before that; `wait` then reports why. O(chunks of the tensor) if it is already there.
  /// @throws InvalidArgument if the model has no tensor of this index.
  [[nodiscard]] bool wait_for(std::size_t tensor);

  [[nodiscard]] WarmProgress progress() const;

  /// Asks the job to end. It still finishes the chunks that it has begun.
  void stop();

 private:
  friend class Weights;
  class Work;
  WarmJob(internal::WeightsState& weights, WarmOptions options,
          const std::vector<std::uint32_t>& order);
  [[nodiscard]] Work& work() const;

  std::unique_ptr<Work> work_;
};

/// Returns an order in which decoding can begin early: first what precedes the layers (embeddings,
/// towers for images and sound), then the layers by number, then what follows them (the final norm,
/// the head, layers used only for drafting). O(n log n).
[[nodiscard]] std::vector<std::uint32_t> layer_order(const TensorDirectory& tensors);

}  // namespace tapedeck::inline TAPEDECK_ABI
