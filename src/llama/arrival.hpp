// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Arrival`: loads a model's weights while the first pass is already computing.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/weights/warm_job.hpp"

namespace tapedeck::llama {

/// Loading ended before all weights were in memory: `WarmOptions::stop` was requested, or its
/// deadline passed.
class ArrivalStopped : public std::runtime_error {
 public:
  explicit ArrivalStopped(WarmEnd end)
      : std::runtime_error(std::string("loading the weights ended early: ") + to_string(end)) {}
};

/// Warms a model's weights in the order in which its layers use them, while a decoder makes its
/// first pass. Before that pass uses a part of the model, it waits until the part is in memory. At
/// the end of the pass all weights that the model computes with are in memory. The job is then
/// stopped, and later passes do not wait for anything.
///
/// Errors are thrown by the first `Decoder::forward`: OutOfMemory if the host's memory budget is
/// exceeded, ArrivalStopped, SystemError, FormatError.
///
/// Thread-safety: the same as the decoder's.
///
///     Decoder decoder(model, layout, pool);
///     const Arrival arrival(model, decoder);
///     decoder.forward(kBos);
class Arrival {
 public:
  /// The model and the decoder must outlive this object.
  Arrival(LlamaModel& model, Decoder& decoder, WarmOptions options = {});
  ~Arrival() { decoder_.before_parts(nullptr); }
  Arrival(const Arrival&) = delete;  // the decoder refers to it
  Arrival& operator=(const Arrival&) = delete;

 private:
  void wait_for(std::size_t part);

  const LlamaModel& model_;
  Decoder& decoder_;
  WarmJob job_;
};

/// Loads the weights that a model computes with, and waits until they are in memory.
/// @throws OutOfMemory if the host's memory budget is exceeded; ArrivalStopped; SystemError;
/// FormatError.
void bring_in(LlamaModel& model, WarmOptions options = {});

}  // namespace tapedeck::llama
