// SPDX-License-Identifier: Apache-2.0
#include "layout/layer_slots.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "base/on_failure.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

LayerStreamer::Slots::Slots(Device& device, StreamingPlan plan, std::byte* place,
                            TensorDirectory directory,
                            std::vector<std::span<const std::byte>> tensors,
                            const LayerStreamerOptions& options)
    : device_(device),
      plan_(std::move(plan)),
      place_(place),
      directory_(std::move(directory)),
      tensors_(std::move(tensors)),
      source_(device, plan_, directory_, tensors_, options),
      copies_(device) {
  std::size_t most_parts = 0;
  std::uint64_t most_experts = 0;
  for (const StreamedLayer& layer : plan_.layers) {
    most_parts = std::max(most_parts, layer.parts.size());
    most_experts = std::max(most_experts, layer.experts);
  }
  slots_.reserve(static_cast<std::size_t>(plan_.slots));
  for (std::size_t i = 0; i < plan_.slots; ++i) {
    Slot& slot = slots_.emplace_back(device);
    slot.at = place + plan_.device.regions().last(plan_.slots)[i].offset;
    slot.here.reserve(static_cast<std::size_t>(most_experts) + 1);
    slot.runs.reserve(most_parts);
  }
  bring_what_stays();
  if (!source_.staged()) return;
  thread_.reset(new internal::LayoutThread(slots_.size(), [this](std::size_t slot) {
    try {
      copy_runs(slots_[slot]);
    } catch (...) {
      slots_[slot].error = std::current_exception();
    }
  }));
}

LayerStreamer::Slots::~Slots() {
  thread_.reset();
  finish_copies();
}

void LayerStreamer::Slots::finish_copies() noexcept {
  try {
    copies_.synchronize();
  } catch (const Error&) {
    // The device is gone, and its copies with it.
  }
}

void LayerStreamer::Slots::bring_what_stays() {
  internal::OnFailure undo([this] { finish_copies(); });  // they read the ring
  std::vector<internal::StreamedRun> runs;
  for (std::size_t i = 0; i < plan_.outer.size(); ++i) {
    const std::uint32_t tensor = plan_.outer[i];
    runs.assign(
        {{.from = tensors_[tensor].data(), .bytes = tensors_[tensor].size(), .tensor = tensor}});
    source_.copy_staged(runs, place_ + plan_.device.regions()[i].offset, copies_.handle());
  }
  for (const StreamedLayer& layer : plan_.layers) {
    if (!layer.resident) continue;
    runs.clear();
    for (const StreamedPart& part : layer.parts) {
      append_run(runs, part, tensors_[part.tensor].data() + part.from);
    }
    source_.copy_staged(runs, place_ + plan_.device.regions()[*layer.resident].offset,
                        copies_.handle());
  }
  copies_.synchronize();
  undo.completed();
  source_.drop_idle_ring();
}

void LayerStreamer::Slots::require_layer(std::size_t layer,
                                         std::span<const std::uint32_t> experts) const {
  const std::size_t layers = plan_.layers.size();
  if (layer >= layers) {
    InvalidArgument::Facts facts = {.argument = "layer", .value = layer};
    if (layers != 0) facts.limit = layers - 1;
    throw InvalidArgument(std::move(facts),
                          "the model has " + internal::count_of(layers, "layer") +
                              ", but no layer " + std::to_string(layer),
                          "count layers from 0");
  }
  for (const std::uint32_t expert : experts) {
    if (expert < plan_.layers[layer].experts) continue;
    throw InvalidArgument({.argument = "experts", .value = expert},
                          "layer " + std::to_string(layer) + " has " +
                              internal::count_of(plan_.layers[layer].experts, "expert") +
                              ", but no expert " + std::to_string(expert),
                          "count experts from 0");
  }
}

std::size_t LayerStreamer::Slots::index_of(const Slot& slot) const noexcept {
  return static_cast<std::size_t>(&slot - slots_.data());
}

LayerStreamer::Slots::Slot* LayerStreamer::Slots::slot_of(std::size_t layer) noexcept {
  const auto found = std::ranges::find(slots_, layer, &Slot::layer);
  return found == slots_.end() ? nullptr : &*found;
}

// Returns the least recently used slot. Layers are used in turn, so its layer is needed last.
LayerStreamer::Slots::Slot* LayerStreamer::Slots::slot_to_take(bool also_awaited) {
  Slot* found = nullptr;
  for (Slot& slot : slots_) {
    if (slot.users != 0 || (slot.awaited && !also_awaited)) continue;
    const auto later = [](const Slot& a, const Slot& b) {
      return std::pair(a.awaited, a.used) > std::pair(b.awaited, b.used);
    };
    if (found == nullptr || later(*found, slot)) found = &slot;
  }
  return found;
}

void LayerStreamer::Slots::throw_all_acquired(std::size_t layer) const {
  std::string held;
  for (const Slot& slot : slots_) {
    held += (held.empty() ? "" : ", ") + std::to_string(slot.layer);
  }
  throw WrongState(
      "layer streamer", ObjectState::in_use,
      "layer " + std::to_string(layer) + " has no slot, because layers " + held + " are acquired",
      "release one first, or plan for more slots");
}

LayerStreamer::Slots::Slot* LayerStreamer::Slots::slot_for(std::size_t layer, bool also_awaited) {
  if (Slot* const own = slot_of(layer)) return own;
  Slot* const slot = slot_to_take(also_awaited);
  if (slot == nullptr) return nullptr;
  wait_until_staged(*slot);
  forget_layer(*slot);
  slot->layer = layer;
  slot->here.assign(static_cast<std::size_t>(plan_.layers[layer].experts) + 1, false);
  return slot;
}

void LayerStreamer::Slots::forget_layer(Slot& slot) noexcept {
  slot.layer = kNone;
  slot.awaited = false;
  slot.error = nullptr;
}

// An acquired slot keeps its layer. The next acquire copies the layer again.
void LayerStreamer::Slots::lose_layer(Slot& slot) noexcept {
  if (slot.users == 0) return forget_layer(slot);
  slot.here.assign(slot.here.size(), false);
  slot.error = nullptr;
}

bool LayerStreamer::Slots::prefetch(std::size_t layer, std::span<const std::uint32_t> experts) {
  require_layer(layer, experts);
  if (plan_.layers[layer].resident) return true;
  Slot* const slot = slot_for(layer, false);
  if (slot == nullptr) return false;
  slot->awaited = slot->users == 0;
  slot->used = ++clock_;
  bring_layer(*slot, layer, experts);
  return true;
}

std::byte* LayerStreamer::Slots::acquire(std::size_t layer, StreamHandle stream,
                                         std::span<const std::uint32_t> experts) {
  require_layer(layer, experts);
  const StreamedLayer& wanted = plan_.layers[layer];
  if (wanted.resident) return place_ + plan_.device.regions()[*wanted.resident].offset;
  Slot* const slot = slot_for(layer, true);
  if (slot == nullptr) throw_all_acquired(layer);
  const bool late = bring_layer(*slot, layer, experts);
  wait_until_staged(*slot);
  if (slot->error != nullptr) {
    const std::exception_ptr error = slot->error;
    lose_layer(*slot);
    std::rethrow_exception(error);
  }
  device_.wait(stream, slot->arrived.handle());
  ++(late ? stat_.late : stat_.in_time);
  ++slot->users;
  slot->awaited = false;
  slot->used = ++clock_;
  return slot->at;
}

void LayerStreamer::Slots::release(std::size_t layer, StreamHandle stream) {
  require_layer(layer, {});
  if (plan_.layers[layer].resident) return;
  Slot* const slot = slot_of(layer);
  if (slot == nullptr || slot->users == 0) {
    throw WrongState("layer " + std::to_string(layer), ObjectState::not_resident,
                     "layer " + std::to_string(layer) + " is not acquired and cannot be released");
  }
  wait_until_staged(*slot);
  auto found = std::find_if(slot->releases.begin(), slot->releases.end(),
                            [&](const Release& release) { return release.stream == stream; });
  if (found == slot->releases.end()) {
    slot->releases.push_back({.stream = stream, .event = DeviceEvent(device_), .pending = false});
    found = std::prev(slot->releases.end());
  }
  found->event.record(stream);
  found->pending = true;
  --slot->users;
}

// Returns true if something must be copied.
bool LayerStreamer::Slots::bring_layer(Slot& slot, std::size_t layer,
                                       std::span<const std::uint32_t> experts) {
  if (is_there(slot, experts)) return false;
  wait_until_staged(slot);
  if (slot.error != nullptr) return false;  // `acquire` will throw it
  list_missing(slot, plan_.layers[layer], experts);
  ++stat_.copies;
  stat_.copy_calls += slot.runs.size();
  for (const internal::StreamedRun& run : slot.runs) stat_.copied_bytes += run.bytes;
  if (thread_) {
    thread_->ask(index_of(slot));
    return true;
  }
  try {
    copy_runs(slot);
  } catch (...) {
    lose_layer(slot);
    throw;
  }
  return true;
}

bool LayerStreamer::Slots::is_there(const Slot& slot,
                                    std::span<const std::uint32_t> experts) noexcept {
  if (experts.empty())
    return std::find(slot.here.begin(), slot.here.end(), false) == slot.here.end();
  return slot.here[0] && std::all_of(experts.begin(), experts.end(),
                                     [&](std::uint32_t expert) { return slot.here[expert + 1]; });
}

void LayerStreamer::Slots::list_missing(Slot& slot, const StreamedLayer& layer,
                                        std::span<const std::uint32_t> experts) {
  const auto is_missing = [&](const StreamedPart& part) {
    if (part.expert == StreamedPart::kNoExpert) return !slot.here[0];
    const bool wanted =
        experts.empty() || std::find(experts.begin(), experts.end(), part.expert) != experts.end();
    return wanted && !slot.here[part.expert + 1];
  };
  slot.runs.clear();
  bool left_out = false;
  for (const StreamedPart& part : layer.parts) {
    const bool missing = is_missing(part);
    if (missing) {
      append_run(slot.runs, part, tensors_[part.tensor].data() + part.from, left_out);
    }
    left_out = !missing;
  }
  slot.here[0] = true;
  if (experts.empty()) slot.here.assign(slot.here.size(), true);
  for (const std::uint32_t expert : experts) slot.here[expert + 1] = true;
}

// Runs on the caller's thread or, if weights are staged, on the streamer's thread.
void LayerStreamer::Slots::copy_runs(Slot& slot) {
  for (Release& release : slot.releases) {
    if (!release.pending) continue;
    device_.wait(copies_.handle(), release.event.handle());
    release.pending = false;
  }
  source_.copy(slot.runs, slot.at, copies_.handle());
  slot.arrived.record(copies_.handle());
}

void LayerStreamer::Slots::wait_until_staged(const Slot& slot) {
  if (thread_) thread_->wait_for(index_of(slot));
}

}  // namespace tapedeck::inline TAPEDECK_ABI
