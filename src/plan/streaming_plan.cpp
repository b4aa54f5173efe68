#include "tapedeck/plan/streaming_plan.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "plan/sizes.hpp"
#include "plan/streaming_layers.hpp"
#include "plan/streaming_sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::fits;
using internal::kDeviceAlignment;
using internal::StreamingLayers;
using internal::StreamingSizes;
using internal::StreamingStep;

// What DMA and direct reads like, and pinning rounds up to.
constexpr std::uint64_t kStagingAlignment = 4096;
constexpr std::uint64_t kMostBuffers = 65'536;  // each is a region

void check_count(const char* what, std::uint64_t count) {
  if (count <= kMostBuffers) return;
  throw InvalidArgument(std::to_string(count) + " " + what, "use at most 65536");
}

void check(const Model& model, const StreamingOptions& options) {
  if (options.slots == 0) throw InvalidArgument("0 slots", "2 let copies and kernels overlap");
  if (options.staging_buffer == 0) throw InvalidArgument("staging buffers of 0 bytes");
  if (options.staging_buffers == 0) throw InvalidArgument("0 staging buffers");
  check_count("slots", options.slots);
  check_count("staging buffers", options.staging_buffers);
  if (!model.tensors.empty()) return;
  throw InvalidArgument("the model has no tensors to stream", "give the file that has its weights");
}

[[noreturn]] void refuse(const StreamingSizes& sizes, const std::vector<StreamingStep>& steps,
                         const StreamingOptions& options) {
  const std::size_t stay = internal::least_device(steps);
  const std::uint64_t needed = fits(steps[stay].device);
  throw InvalidArgument("the weights take " + std::to_string(needed) +
                            " bytes on the device at least (" + std::to_string(sizes.outer) +
                            " are of no layer, the others " + std::to_string(options.slots) +
                            " slots" + (stay == 0 ? "" : " and the layers that stay") +
                            "), and device_bytes are " + std::to_string(*options.device_bytes),
                        "give it more memory, or fewer slots");
}

std::size_t choose_resident(const StreamingSizes& sizes, const std::vector<StreamingStep>& steps,
                            const StreamingOptions& options) {
  if (!options.device_bytes) return 0;
  const auto most = internal::most_resident(steps, *options.device_bytes);
  if (!most) refuse(sizes, steps, options);
  return *most;
}

Region buffer(std::string name, std::uint64_t bytes, std::uint64_t alignment) {
  return {.name = std::move(name),
          .role = RegionRole::weight,
          .bytes = bytes,
          .alignment = alignment,
          .dtype = DType::u8,
          .shape = {bytes}};
}

void add_outer(StreamingPlan& plan, const Model& model, const StreamingLayers& layers) {
  for (const std::uint32_t tensor : layers.outer) {
    const TensorEntry& entry = model.tensors.entries()[tensor];
    plan.outer.push_back(
        {.tensor = tensor, .region = static_cast<std::uint32_t>(plan.device.regions().size())});
    plan.device.append({.id = entry.id,
                        .name = entry.name.empty() ? "(no name)" : std::string(entry.name),
                        .role = RegionRole::weight,
                        .bytes = entry.bytes,
                        .alignment = kDeviceAlignment,
                        .dtype = entry.dtype,
                        .shape = {entry.shape().begin(), entry.shape().end()}});
  }
}

void add_layers(StreamingPlan& plan, std::size_t resident, std::uint64_t slots) {
  for (std::size_t i = 0; i < resident; ++i) {
    plan.layers[i].resident = static_cast<std::uint32_t>(plan.device.regions().size());
    plan.device.append(
        buffer("resident." + std::to_string(i), plan.layers[i].bytes, kDeviceAlignment));
  }
  if (resident == plan.layers.size()) return;
  std::uint64_t largest = 0;
  for (std::size_t i = resident; i < plan.layers.size(); ++i) {
    largest = std::max(largest, plan.layers[i].bytes);
  }
  plan.slots = slots;
  plan.first_slot = static_cast<std::uint32_t>(plan.device.regions().size());
  for (std::uint64_t i = 0; i < slots; ++i) {
    plan.device.append(buffer("slot." + std::to_string(i), largest, kDeviceAlignment));
  }
}

}  // namespace

std::uint64_t StreamingPlan::slot_bytes() const noexcept {
  return slots == 0 ? 0 : device.regions()[first_slot].bytes;
}

std::uint64_t StreamingPlan::resident_layers() const noexcept {
  return static_cast<std::uint64_t>(
      std::count_if(layers.begin(), layers.end(),
                    [](const StreamedLayer& layer) { return layer.resident.has_value(); }));
}

StreamingPlan plan_streaming(const Model& model, const StreamingOptions& options) {
  check(model, options);
  StreamingLayers layers = internal::lay_out_layers(model);
  if (layers.layers.empty()) {
    throw InvalidArgument("no tensor of the model belongs to a layer",
                          "the names of its tensors must number the layers: blk.0.attn_q.weight");
  }
  const StreamingSizes sizes = internal::streaming_sizes(model, layers);
  const std::vector<StreamingStep> steps = internal::streaming_steps(sizes, options.slots);
  const std::size_t resident = choose_resident(sizes, steps, options);

  StreamingPlan out;
  out.layers = std::move(layers.layers);
  out.token_bytes = steps[resident].token_bytes;
  out.least_bytes = fits(steps[internal::least_device(steps)].device);
  out.one_slot_bytes = fits(internal::streaming_steps(sizes, 1).front().device);
  add_outer(out, model, layers);
  add_layers(out, resident, options.slots);
  for (std::uint64_t i = 0; i < options.staging_buffers; ++i) {
    out.staging.append(
        buffer("staging." + std::to_string(i), options.staging_buffer, kStagingAlignment));
  }
  return out;
}

double streaming_ceiling(const StreamingPlan& plan, double bus_bytes_per_second) noexcept {
  return internal::StreamingStep{.token_bytes = plan.token_bytes}.ceiling(bus_bytes_per_second);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
