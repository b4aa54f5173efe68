// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/layer_streamer.hpp"

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "layout/layer_slots.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

[[noreturn]] void throw_plan_misfit(InvalidArgument::Facts facts, const std::string& what) {
  throw InvalidArgument(std::move(facts), "the streaming plan does not match: " + what,
                        "make the plan for these weights with plan_streaming");
}

void require_parts(const StreamedLayer& layer, std::size_t number, std::uint64_t room,
                   std::span<const std::span<const std::byte>> tensors) {
  if (layer.bytes > room) {
    throw_plan_misfit({.argument = "StreamedLayer::bytes", .value = layer.bytes, .limit = room},
                      "layer " + std::to_string(number) + " has " + to_iec(layer.bytes) +
                          ", but its slot or region has only " + to_iec(room));
  }
  for (const StreamedPart& part : layer.parts) {
    const auto last = checked_add(part.from, part.bytes);
    const auto end = checked_add(part.offset, part.bytes);
    if (part.tensor >= tensors.size() || !last || *last > tensors[part.tensor].size() || !end ||
        *end > layer.bytes ||
        (part.expert != StreamedPart::kNoExpert && part.expert >= layer.experts)) {
      throw_plan_misfit({.argument = "StreamedLayer::parts", .value = number},
                        "a part of layer " + std::to_string(number) +
                            " is outside its tensor or its slot, or belongs to an expert that the "
                            "layer does not have");
    }
  }
}

void require_plan(const StreamingPlan& plan, DeviceSpan<std::byte> place,
                  const TensorDirectory& directory,
                  std::span<const std::span<const std::byte>> tensors) {
  if (place.size() < plan.device.bytes()) {
    throw_plan_misfit({.argument = "place", .value = place.size(), .limit = plan.device.bytes()},
                      "it needs " + to_iec(plan.device.bytes()) + " on the device, but was given " +
                          to_iec(place.size()));
  }
  const std::uintptr_t beside = reinterpret_cast<std::uintptr_t>(place.data()) % kDeviceLine;
  if (beside != 0) {
    throw_plan_misfit({.argument = "place", .value = beside, .limit = 0},
                      "its memory on the device is not aligned to " + to_iec(kDeviceLine));
  }
  const std::size_t known = directory.entries().size();
  if (tensors.size() != known) {
    throw_plan_misfit({.argument = "tensors", .value = tensors.size(), .limit = known},
                      "the directory has " + internal::count_of(known, "tensor") +
                          ", but the bytes of " + std::to_string(tensors.size()) + " were given");
  }
  const std::span<const Region> regions = plan.device.regions();
  const std::size_t stay = plan.outer.size() + plan.resident_layers();
  if (stay > regions.size() || plan.slots > regions.size() - stay) {
    throw_plan_misfit({.argument = "StreamingPlan::device", .value = regions.size()},
                      "it has " + internal::count_of(regions.size(), "region") +
                          ", fewer than tensors that belong to no layer, layers that stay "
                          "and slots together");
  }
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    const StreamedLayer& layer = plan.layers[i];
    if (layer.resident ? *layer.resident >= regions.size() : plan.slots == 0) {
      throw_plan_misfit({.argument = "StreamingPlan::layers", .value = i},
                        "layer " + std::to_string(i) + " has neither a region nor a slot");
    }
    require_parts(layer, i, layer.resident ? regions[*layer.resident].bytes : plan.slot_bytes(),
                  tensors);
  }
  for (std::size_t i = 0; i < plan.outer.size(); ++i) {
    const std::uint32_t tensor = plan.outer[i];
    if (tensor >= tensors.size() || tensors[tensor].size() > regions[i].bytes) {
      throw_plan_misfit({.argument = "StreamingPlan::outer", .value = tensor},
                        "tensor " + std::to_string(tensor) +
                            ", which belongs to no layer, does not exist or exceeds its region");
    }
  }
}

}  // namespace

LayerStreamer::LayerStreamer(Device& device, StreamingPlan plan, DeviceSpan<std::byte> place,
                             TensorDirectory directory,
                             std::vector<std::span<const std::byte>> tensors,
                             const LayerStreamerOptions& options) {
  require_plan(plan, place, directory, tensors);
  slots_ = std::make_unique<Slots>(device, std::move(plan), place.data(), std::move(directory),
                                   std::move(tensors), options);
}

LayerStreamer::~LayerStreamer() = default;

const StreamingPlan& LayerStreamer::plan() const noexcept { return slots_->plan(); }
LayerStreamerStat LayerStreamer::stat() const noexcept { return slots_->stat(); }
bool LayerStreamer::staged() const noexcept { return slots_->source().staged(); }
const std::string& LayerStreamer::why_staged() const noexcept {
  return slots_->source().why_staged();
}

std::byte* LayerStreamer::outer(std::uint32_t tensor) const {
  const std::vector<std::uint32_t>& outer = plan().outer;
  for (std::size_t i = 0; i < outer.size(); ++i) {
    if (outer[i] == tensor) return slots_->place() + plan().device.regions()[i].offset;
  }
  throw InvalidArgument(
      {.argument = "tensor", .value = tensor},
      "tensor " + std::to_string(tensor) + " is not among the tensors that belong to no layer",
      "acquire the layer of the tensor");
}

bool LayerStreamer::prefetch(std::size_t layer, std::span<const std::uint32_t> experts) {
  return slots_->prefetch(layer, experts);
}

std::byte* LayerStreamer::acquire(std::size_t layer, StreamHandle stream,
                                  std::span<const std::uint32_t> experts) {
  return slots_->acquire(layer, stream, experts);
}

void LayerStreamer::release(std::size_t layer, StreamHandle stream) {
  slots_->release(layer, stream);
}

std::size_t LayerStreamer::next_streamed(std::size_t layer) const noexcept {
  const std::vector<StreamedLayer>& layers = plan().layers;
  assert(layer < layers.size());
  std::size_t next = layer;
  do {
    next = (next + 1) % layers.size();
  } while (layers[next].resident && next != layer);
  return next;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
