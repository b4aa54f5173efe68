// SPDX-License-Identifier: Apache-2.0
/// @file
/// `metrics_text`: snapshots in Prometheus's text format, generated from the lists of fields.
#pragma once

#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A layout to export, and the phases of its engine. Thread-safety: a value.
struct WatchedLayout {
  const Layout* layout = nullptr;  ///< Must outlive the collector or server that exports it.
  std::string name = "layout";     ///< The value of the label `layout`.
  const Phases* phases = nullptr;  ///< Of this layout, if any; must also outlive the collector.
};

/// The Content-Type of what `metrics_text` returns, for a host's own server.
inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the Prometheus text exposition of some layouts, for a host with a server of its own.
/// Names are `tapedeck_`, what the metric describes (`tape_`, `layout_`, `device_`, `phase_`,
/// `process_`), the field's name, its unit (`_bytes`, `_seconds`, `_ratio`), and `_total` for
/// counters:
///
///     tapedeck_tape_used_bytes{layout="chat",place="host",tape="scratch"} 1024
///     tapedeck_layout_passes_total{layout="chat"} 17
///     tapedeck_phase_entered_total{layout="chat",phase="prefill"} 3
///     tapedeck_phase_peak_bytes{layout="chat",phase="prefill",place="host",tape="scratch"} 4096
///     tapedeck_process_rss_anon_bytes 4931584
///
/// There are as many series as tapes, devices and phases (at most `kMostPhases` in a layout); talks
/// have none. Unknown values are left out. Metrics of the process are those of the first snapshot
/// that has them.
/// @throws InvalidArgument if two snapshots have the same name; Unsupported if this library was
/// built without Prometheus metrics.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// const Snapshot now[] = {snapshot_of(layout, "chat")};
/// std::cout << "Content-Type: " << kMetricsContentType << "\n\n" << metrics_text(now);
/// @endcode
[[nodiscard]] std::string metrics_text(std::span<const Snapshot> snapshots);

}  // namespace tapedeck::inline TAPEDECK_ABI
