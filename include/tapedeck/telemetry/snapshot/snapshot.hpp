/// @file
/// `Snapshot`: where every byte of a layout is at one moment, for whatever shows or stores it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/layout/stat_fields.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/snapshot/process_figures.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What a snapshot has besides `Layout::stat()`, and what that costs.
struct SnapshotOptions {
  bool talks = false;                       ///< Each talk by itself: O(talks), no system call.
  bool devices = false;                     ///< Memory of each device: calls of its driver.
  std::optional<ProcessOptions> process{};  ///< System calls: see `process_figures`.
  const Phases* phases = nullptr;           ///< Of this layout: O(their number), no system call.
};

/// Memory of a device, whichever process uses it.
struct DeviceFigures {
  std::string label{};                          ///< `Device::label`.
  std::optional<std::uint64_t> memory_free{};   ///< Bytes; unknown where the driver refuses,
  std::optional<std::uint64_t> memory_total{};  ///< as this is.
};

/// A row of the list of `DeviceFigures`.
using DeviceMemoryField = StatField<DeviceFigures, std::optional<std::uint64_t>>;

/// As `tape_fields`.
[[nodiscard]] std::span<const DeviceMemoryField> device_memory_fields() noexcept;

/// What is counted of a phase, besides its peaks: `entered`, which is `PhaseFigures::times`, and
/// `passes`. As `tape_fields`.
[[nodiscard]] std::span<const StatField<PhaseFigures>> phase_fields() noexcept;

/// The figures of a layout at one moment, and of what is around it where that was asked for.
/// Thread-safety: a value.
struct Snapshot {
  std::string layout{};  ///< Its name, as a label.
  Stat stat{};
  std::vector<TalkStat> talks{};            ///< Empty unless asked for.
  std::vector<DeviceFigures> devices{};     ///< Empty unless asked for; as many as `stat.gpus`.
  std::optional<ProcessFigures> process{};  ///< Nothing unless asked for.
  std::vector<PhaseFigures> phases{};       ///< Empty unless asked for.
};

/// Takes one, from any thread, while the layout's writers work. Without options it makes no system
/// call and takes no lock. Figures of one tape agree with each other; tapes are read one after the
/// other.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB}, {.talks = 3});
/// (void)layout.history(2).take(1_MiB);
/// const Snapshot now = snapshot_of(layout, "chat", {.talks = true});
/// assert(now.talks[2].history.used == 1_MiB && now.stat.history.used == 1_MiB);
/// @endcode
[[nodiscard]] Snapshot snapshot_of(const Layout& layout, std::string name,
                                   const SnapshotOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
