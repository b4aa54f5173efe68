// SPDX-License-Identifier: Apache-2.0
#include "llama/arrival.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace tapedeck::llama {
namespace {

// The tensors that the model computes with, in the order in which it uses them.
std::vector<std::uint32_t> order_of(const LlamaModel& model) {
  std::vector<std::uint32_t> order;
  std::vector<bool> listed(model.weights().size(), false);
  for (std::size_t part = 0; part < model.parts(); ++part) {
    for (const std::uint32_t tensor : model.tensors_of(part)) {
      if (!listed[tensor]) order.push_back(tensor);
      listed[tensor] = true;
    }
  }
  return order;
}

void throw_unless_complete(WarmJob& job) {
  const WarmResult result = job.wait();  // throws errors of the system
  if (result.end == WarmEnd::stopped || result.end == WarmEnd::past_deadline) {
    throw ArrivalStopped(result.end);
  }
  result.or_throw("bringing in the weights");
}

}  // namespace

Arrival::Arrival(LlamaModel& model, Decoder& decoder, WarmOptions options)
    : model_(model),
      decoder_(decoder),
      job_(model.weights().start_warm(std::move(options), order_of(model))) {
  decoder.before_parts([this](std::size_t part) { wait_for(part); });
}

void bring_in(LlamaModel& model, WarmOptions options) {
  WarmJob job = model.weights().start_warm(std::move(options), order_of(model));
  throw_unless_complete(job);
}

void Arrival::wait_for(std::size_t part) {
  for (const std::uint32_t tensor : model_.tensors_of(part)) {
    if (!job_.wait_for(tensor)) throw_unless_complete(job_);
  }
  // No part of the model uses the tensors that may be left.
  if (part + 1 == model_.parts()) job_.stop();
}

}  // namespace tapedeck::llama
