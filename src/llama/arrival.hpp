/// @file
/// `Arrival`: a model's weights come in while the first pass computes already.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/weights/warm_job.hpp"

namespace tapedeck::llama {

/// The weights did not all come: `WarmOptions::stop` was requested, or its deadline passed.
class ArrivalStopped : public std::runtime_error {
 public:
  explicit ArrivalStopped(WarmEnd end)
      : std::runtime_error(std::string("loading the weights ended early: ") + to_string(end)) {}
};

/// Warms a model's weights in the order in which its layers use them, beside a decoder's first
/// pass, which waits for each part of the model when it comes to it. When that pass is through, all
/// that is computed with is there, the job is stopped, and later passes know nothing of it.
///
/// The first `Decoder::forward` throws what went wrong: OutOfMemory where the budget of the host
/// ends, ArrivalStopped, SystemError, FormatError.
///
/// Thread-safety: as the decoder.
///
///     Decoder decoder(model, layout, pool);
///     const Arrival arrival(model, decoder);
///     decoder.forward(kBos);
class Arrival {
 public:
  /// The model and the decoder must outlive it.
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

/// Brings in what a model computes with, and waits for it.
/// @throws what `Arrival` has the first pass throw.
void bring_in(LlamaModel& model, WarmOptions options = {});

}  // namespace tapedeck::llama
