// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/streaming_plan.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "base/require.hpp"
#include "plan/layer_bytes.hpp"
#include "plan/sizes.hpp"
#include "plan/streaming_layers.hpp"
#include "plan/weights_plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::fits;
using internal::kDeviceAlignment;
using internal::StreamingStep;

// DMA and direct reads work best at this alignment, and pinning rounds up to it.
constexpr std::uint64_t kStagingAlignment = 4096;
constexpr std::uint64_t kMostBuffers = 65'536;  // Each is a region.

void check_streaming(const Model& model, const StreamingOptions& options) {
  internal::require_count("StreamingOptions::slots", "slots", options.slots, kMostBuffers);
  internal::require_one("StreamingOptions::staging_buffer", options.staging_buffer);
  internal::require_count("StreamingOptions::staging_buffers", "staging buffers",
                          options.staging_buffers, kMostBuffers);
  if (!model.tensors.empty()) return;
  throw InvalidArgument({.argument = "Model::tensors"}, "the model has no tensors to stream",
                        "pass the file that contains its weights");
}

std::size_t choose_resident(std::uint64_t outer, const std::vector<StreamingStep>& steps,
                            const StreamingOptions& options) {
  if (!options.device_bytes) return 0;
  if (const auto most = internal::most_resident(steps, *options.device_bytes)) return *most;
  const std::size_t stay = internal::least_device(steps);
  const std::uint64_t needed = fits(steps[stay].device);
  throw InvalidArgument({.argument = "StreamingOptions::device_bytes",
                         .value = options.device_bytes,
                         .limit = needed},
                        "the weights need at least " + std::to_string(needed) +
                            " bytes on the device (" + std::to_string(outer) +
                            " for tensors that belong to no layer, the rest for " +
                            internal::count_of(options.slots, "slot") +
                            (stay == 0 ? "" : " and the layers that stay") +
                            "), but device_bytes is " + std::to_string(*options.device_bytes),
                        "increase device_bytes or use fewer slots");
}

/// Appends a buffer of bytes and returns the index of its region.
std::uint32_t append_buffer(TapePlan& tape, const char* name, std::uint64_t number,
                            std::uint64_t bytes, std::uint64_t alignment) {
  tape.append({.name = name + std::to_string(number),
               .role = RegionRole::weight,
               .bytes = bytes,
               .alignment = alignment,
               .dtype = DType::u8,
               .shape = {bytes}});
  return tape.regions().back().index;
}

void add_outer_tensors(StreamingPlan& plan, const Model& model) {
  for (const std::uint32_t tensor : plan.outer) {
    Region region = internal::region_of(model.tensors.entries()[tensor]);
    region.alignment = kDeviceAlignment;
    plan.device.append(std::move(region));
  }
}

void add_layers(StreamingPlan& plan, std::size_t resident, std::uint64_t slots) {
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    StreamedLayer& layer = plan.layers[i];
    if (i < resident) {
      layer.resident = append_buffer(plan.device, "resident.", i, layer.bytes, kDeviceAlignment);
    } else {
      largest = std::max(largest, layer.bytes);
    }
  }
  if (resident == plan.layers.size()) return;
  plan.slots = slots;
  for (std::uint64_t i = 0; i < slots; ++i) {
    append_buffer(plan.device, "slot.", i, largest, kDeviceAlignment);
  }
}

}  // namespace

std::uint64_t StreamingPlan::slot_bytes() const noexcept {
  return slots == 0 ? 0 : device.regions().back().bytes;
}

std::uint64_t StreamingPlan::resident_layers() const noexcept {
  return static_cast<std::uint64_t>(std::ranges::count_if(
      layers, [](const StreamedLayer& layer) { return layer.resident.has_value(); }));
}

StreamingPlan plan_streaming(const Model& model, const StreamingOptions& options) {
  check_streaming(model, options);
  StreamingPlan out = internal::lay_out_layers(model);
  if (out.layers.empty()) {
    throw InvalidArgument(
        {.argument = "Model::tensors"}, "no tensor of the model belongs to a layer",
        "tensor names must contain the number of the layer, as in blk.0.attn_q.weight");
  }
  const internal::LayerBytes weights = internal::bytes_by_layer(model, out);
  const std::vector<StreamingStep> steps = internal::streaming_steps(weights, options.slots);
  const std::size_t resident = choose_resident(weights.rest, steps, options);

  out.token_bytes = steps[resident].token_bytes;
  out.least_bytes = fits(steps[internal::least_device(steps)].device);
  out.one_slot_bytes = fits(internal::streaming_steps(weights, 1).front().device);
  add_outer_tensors(out, model);
  add_layers(out, resident, options.slots);
  for (std::uint64_t i = 0; i < options.staging_buffers; ++i) {
    append_buffer(out.staging, "staging.", i, options.staging_buffer, kStagingAlignment);
  }
  return out;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
