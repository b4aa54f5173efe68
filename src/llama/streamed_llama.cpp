// SPDX-License-Identifier: Apache-2.0
#include "llama/streamed_llama.hpp"

#include <algorithm>
#include <utility>

#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

Plan plan_talk(const LlamaModel& model, const StreamedLlamaOptions& options) {
  return model.plan(options.positions, 1, options.element);
}

std::uint64_t in_whole_pages(const Device& device, std::uint64_t bytes) {
  const auto whole = checked_round_up(bytes, device.info().granularity);
  if (!whole) {
    throw InvalidArgument(
        {.argument = "StreamedLlamaOptions::positions"},
        "a talk of " + std::to_string(bytes) + " bytes is too long to be addressed",
        "use fewer positions");
  }
  return *whole;
}

// Weights get all memory that the talk and the buffers leave.
StreamingPlan plan_weights(const LlamaModel& model, const Device& device,
                           const StreamedLlamaOptions& options) {
  const Plan plan = plan_talk(model, options);
  const std::uint64_t others =
      in_whole_pages(device, plan.history.bytes()) + in_whole_pages(device, plan.scratch.bytes());
  const std::uint64_t memory =
      std::min<std::uint64_t>(device.memory().free, options.memory.value_or(device.info().total));
  const std::uint64_t left = memory - std::min(others, memory);
  const Model planned = model_to_plan(model);
  StreamingOptions streaming = {.slots = options.slots};
  const std::uint64_t least =
      in_whole_pages(device, plan_streaming(planned, streaming).least_bytes);
  if (least > left) {
    throw OutOfMemory({.purpose = "layer streaming on " + device.label(),
                       .limit = options.memory ? "the memory it may use" : "its free memory",
                       .needed = static_cast<std::size_t>(others + least),
                       .available = static_cast<std::size_t>(memory)},
                      "allow more, plan fewer tokens, or use a smaller model");
  }
  streaming.device_bytes = round_down(left, device.info().granularity);
  return plan_streaming(planned, streaming);
}

LayoutOptions layout_options(const LlamaModel& model, Device& device,
                             const StreamedLlamaOptions& options, const StreamingPlan& streaming) {
  Plan plan = plan_talk(model, options);
  plan.weights = streaming.device;
  LayoutOptions layout;
  layout.gpus.push_back({.device = &device, .plan = std::move(plan)});
  return layout;
}

}  // namespace

StreamedLlama::StreamedLlama(const LlamaModel& model, Device& device,
                             const StreamedLlamaOptions& options)
    : StreamedLlama(model, device, options, plan_weights(model, device, options)) {}

StreamedLlama::StreamedLlama(const LlamaModel& model, Device& device,
                             const StreamedLlamaOptions& options, StreamingPlan streaming)
    : layout_(Plan{}, layout_options(model, device, options, streaming)),
      weights_(model, device, std::move(streaming),
               {layout_.gpu(0).weights().data(), layout_.gpu(0).weights().floor()},
               options.source) {}

}  // namespace tapedeck::llama
