// SPDX-License-Identifier: Apache-2.0
/// @file
/// A model on a GPU, ready to decode. It is like `Host`, but with a decoder on a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "llama/cuda_decoder.hpp"
#include "llama/device_model.hpp"
#include "llama/support.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/device/cuda_device.hpp"

namespace tapedeck::tests {

/// How a GPU decodes a model.
struct GpuMode {
  const char* name;
  bool graph = true;
  std::uint64_t slots = 2;
  /// How many layers stay on the device in addition to the slots. Without a value all layers stay,
  /// and there are no slots.
  std::optional<std::size_t> resident_layers{};
  StreamSource source = StreamSource::automatic;
  DType element = DType::f32;

  friend std::ostream& operator<<(std::ostream& out, const GpuMode& mode) {
    return out << mode.name;
  }
};

inline constexpr GpuMode kReplayed{.name = "Replayed"};
inline constexpr GpuMode kLaunched{.name = "Launched", .graph = false};
inline constexpr GpuMode kTwoSlots{.name = "TwoSlots", .resident_layers = 0};
inline constexpr GpuMode kThreeSlots{.name = "ThreeSlots", .slots = 3, .resident_layers = 0};
inline constexpr GpuMode kOneStays{.name = "OneStays", .resident_layers = 1};
inline constexpr GpuMode kStaged{
    .name = "Staged", .resident_layers = 0, .source = StreamSource::staged};

inline constexpr GpuMode kHalf{.name = "Half", .element = DType::f16};
inline constexpr GpuMode kHalfTwoSlots{
    .name = "HalfTwoSlots", .resident_layers = 0, .element = DType::f16};

[[nodiscard]] inline StreamingPlan streaming_of(const llama::LlamaModel& model,
                                                const GpuMode& mode) {
  const Model planned = llama::model_to_plan(model);
  // A ring of buffers that is small enough for each layer to go around it several times.
  StreamingOptions options = {.slots = mode.slots, .staging_buffer = 4_KiB, .staging_buffers = 3};
  if (!mode.resident_layers) {
    options.device_bytes = std::numeric_limits<std::uint64_t>::max();
  } else if (*mode.resident_layers != 0) {
    // All layers of a Llama model have the same size.
    const StreamingPlan none = plan_streaming(planned, options);
    options.device_bytes = none.device.bytes() + *mode.resident_layers * none.slot_bytes();
  }
  return plan_streaming(planned, options);
}

/// A layout with the tapes of a plan on one device, and no tapes on the host.
struct OnDevice : Layout {
  OnDevice(Device& device, Plan plan, DeviceLayoutOptions options = {})
      : Layout(of_talks(plan.talks), on(device, std::move(plan), std::move(options))) {}

 private:
  static Plan of_talks(std::uint64_t talks) {
    Plan plan;
    plan.talks = talks;
    return plan;
  }
  static LayoutOptions on(Device& device, Plan plan, DeviceLayoutOptions options) {
    LayoutOptions all;
    all.gpus.push_back({.device = &device, .plan = std::move(plan), .options = std::move(options)});
    return all;
  }
};

/// A model on a GPU, without a decoder.
struct GpuModel {
  GpuModel(std::shared_ptr<const llama::LlamaModel> warm, const GpuMode& mode, std::size_t talks,
           std::size_t positions)
      : model(std::move(warm)),
        layout(device, model->plan(positions, talks, mode.element),
               {.commit = Commit::with_talks, .growth_step = 16}),
        streaming(streaming_of(*model, mode)),
        place(DeviceTape::start(device, streaming.device.bytes())),
        weights(*model, device, streaming, place.take<std::byte>(streaming.device.bytes()),
                {.source = mode.source}) {}

  CudaDevice device{};
  std::shared_ptr<const llama::LlamaModel> model;
  OnDevice layout;
  StreamingPlan streaming;
  DeviceTape place;
  llama::DeviceModel weights;
};

struct GpuHost : GpuModel {
  explicit GpuHost(std::shared_ptr<const llama::LlamaModel> warm, const GpuMode& mode = kReplayed,
                   std::size_t talks = 1, std::size_t positions = 0)
      : GpuModel(std::move(warm), mode, talks, positions),
        made(llama::make_cuda_decoder(*model, weights, layout, 0, {.graph = mode.graph})) {}
  explicit GpuHost(const std::filesystem::path& file, const GpuMode& mode = kReplayed,
                   std::size_t talks = 1, std::size_t positions = 0)
      : GpuHost(warm_model(file, Way::read), mode, talks, positions) {}

  std::unique_ptr<llama::TalkDecoder> made;
  llama::TalkDecoder& decoder = *made;
};

}  // namespace tapedeck::tests
