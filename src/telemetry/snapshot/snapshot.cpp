// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

#include <array>
#include <cstddef>
#include <utility>

#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

constexpr auto kDeviceMemoryFields = std::to_array<DeviceMemoryField>({
    {"memory_free", StatUnit::bytes, StatKind::gauge, "Free memory of the device.",
     &DeviceFigures::memory_free},
    {"memory_total", StatUnit::bytes, StatKind::gauge, "Total memory of the device.",
     &DeviceFigures::memory_total},
});

constexpr auto kPhaseFields = std::to_array<StatField<PhaseFigures>>({
    {"entered", StatUnit::count, StatKind::counter, "How often the phase was entered.",
     &PhaseFigures::times},
    {"passes", StatUnit::count, StatKind::counter, "Passes that ended in the phase.",
     &PhaseFigures::passes},
});

DeviceFigures device_figures(const Device& device) {
  DeviceFigures figures = {.label = device.label()};
  try {
    const DeviceMemory memory = device.memory();
    figures.memory_free = memory.free;
    figures.memory_total = memory.total;
  } catch (const Error&) {  // a lost device reports nothing
  }
  return figures;
}

}  // namespace

std::span<const DeviceMemoryField> device_memory_fields() noexcept { return kDeviceMemoryFields; }

std::span<const StatField<PhaseFigures>> phase_fields() noexcept { return kPhaseFields; }

Snapshot snapshot_of(const Layout& layout, std::string name, const SnapshotOptions& options) {
  Snapshot snapshot = {.layout = std::move(name), .stat = layout.stat()};
  if (options.talks) {
    snapshot.talks.reserve(layout.talks());
    for (std::size_t talk = 0; talk < layout.talks(); ++talk) {
      snapshot.talks.push_back(layout.talk_stat(talk));
    }
  }
  if (options.devices) {
    snapshot.devices.reserve(layout.gpus());
    for (std::size_t i = 0; i < layout.gpus(); ++i) {
      snapshot.devices.push_back(device_figures(layout.gpu(i).device()));
    }
  }
  if (options.process) snapshot.process = process_figures(*options.process);
  if (options.phases != nullptr) snapshot.phases = options.phases->figures();
  return snapshot;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
