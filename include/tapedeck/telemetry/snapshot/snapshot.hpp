// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Snapshot`: where every byte of a layout is at one moment, to be shown or stored.
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

/// What a snapshot contains in addition to `Layout::stat()`, and what that costs.
struct SnapshotOptions {
  bool talks = false;                       ///< Each talk separately: O(talks), no system call.
  bool devices = false;                     ///< Memory of each device: calls of its driver.
  std::optional<ProcessOptions> process{};  ///< System calls; see `process_figures`.
  const Phases* phases = nullptr;           ///< Phases of the layout: O(phases), no system call.
};

/// Memory of a whole device, whichever process uses it.
struct DeviceFigures {
  std::string label{};                          ///< `Device::label`.
  std::optional<std::uint64_t> memory_free{};   ///< Bytes; unknown if the driver refuses.
  std::optional<std::uint64_t> memory_total{};  ///< Bytes; unknown if the driver refuses.
};

/// A row of `device_memory_fields`.
using DeviceMemoryField = StatField<DeviceFigures, std::optional<std::uint64_t>>;

/// The fields of `DeviceFigures`, in a list with static lifetime. Thread-safety: any thread.
[[nodiscard]] std::span<const DeviceMemoryField> device_memory_fields() noexcept;

/// The counters of a phase, without its peaks: `entered`, which is `PhaseFigures::times`, and
/// `passes`. The list has static lifetime. Thread-safety: any thread.
[[nodiscard]] std::span<const StatField<PhaseFigures>> phase_fields() noexcept;

/// The state of a layout at one moment, with what `SnapshotOptions` request in addition.
/// Thread-safety: a value.
struct Snapshot {
  std::string layout{};  ///< The layout's name, used as a label.
  Stat stat{};
  std::vector<TalkStat> talks{};            ///< Empty unless requested.
  std::vector<DeviceFigures> devices{};     ///< Empty unless requested; else `stat.gpus` entries.
  std::optional<ProcessFigures> process{};  ///< Empty unless requested.
  std::vector<PhaseFigures> phases{};       ///< Empty unless requested.
};

/// Takes a snapshot, from any thread, while the layout's writers work. Without options it makes no
/// system call and takes no lock. Values of one tape are consistent; tapes are read one by one.
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
