#include "llama/arrival.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace tapedeck::llama {
namespace {

// Only what the model computes with, in the order in which it does.
WarmJobOptions in_order(const LlamaModel& model, WarmJobOptions options) {
  options.order.clear();
  std::vector<bool> listed(model.weights().size(), false);
  for (std::size_t part = 0; part < model.parts(); ++part) {
    for (const std::uint32_t tensor : model.tensors_of(part)) {
      if (!listed[tensor]) options.order.push_back(tensor);
      listed[tensor] = true;
    }
  }
  return options;
}

[[noreturn]] void fail(WarmJob& job) {
  const WarmJobResult result = job.wait();  // throws what the system refused
  if (result.end == WarmJobEnd::over_budget) {
    throw OutOfMemory({.purpose = "bringing in the weights",
                       .limit = result.limit,
                       .needed = static_cast<std::size_t>(result.asked - result.warmed),
                       .available = static_cast<std::size_t>(result.available)},
                      "free some, or use a smaller model");
  }
  throw ArrivalStopped(result.end);
}

}  // namespace

Arrival::Arrival(LlamaModel& model, Decoder& decoder, WarmJobOptions options)
    : model_(model),
      decoder_(decoder),
      job_(model.weights().start_warm(in_order(model, std::move(options)))) {
  decoder.before_parts([this](std::size_t part) { wait_for(part); });
}

void bring_in(LlamaModel& model, WarmJobOptions options) {
  WarmJob job = model.weights().start_warm(in_order(model, std::move(options)));
  if (!job.wait()) fail(job);
}

void Arrival::wait_for(std::size_t part) {
  for (const std::uint32_t tensor : model_.tensors_of(part)) {
    if (!job_.wait_for(tensor)) fail(job_);
  }
  // What may be left nobody computes with.
  if (part + 1 == model_.parts()) job_.stop();
}

}  // namespace tapedeck::llama
