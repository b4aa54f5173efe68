/// @file
/// Snapshots as Prometheus reads them, made from the list of figures.
#pragma once

#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A layout that is scraped, and the phases of its engine. Thread-safety: a value.
struct WatchedLayout {
  const Layout* layout = nullptr;  ///< Must outlive its watcher.
  std::string name = "layout";     ///< The label `layout`.
  const Phases* phases = nullptr;  ///< Of this layout, if any; must outlive the watcher, too.
};

/// What a host's own server answers with `metrics_text`.
inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

/// The text exposition of some layouts, for a host that has a server of its own. Names are
/// `tapedeck_` and what the figures are of (`tape_`, `layout_`, `device_`, `phase_`, `process_`),
/// the row's name, its unit (`_bytes`, `_seconds`, `_ratio`), and `_total` of counters:
///
///     tapedeck_tape_used_bytes{layout="chat",place="host",tape="scratch"} 1024
///     tapedeck_layout_passes_total{layout="chat"} 17
///     tapedeck_phase_entered_total{layout="chat",phase="prefill"} 3
///     tapedeck_phase_peak_bytes{layout="chat",phase="prefill",place="host",tape="scratch"} 4096
///     tapedeck_process_rss_anon_bytes 4931584
///
/// There are as many series as tapes, devices, and phases, of which a layout has `kMostPhases` at
/// most; talks have none of their own. Unknown figures are left out. Figures of the process are the
/// first snapshot's that has some.
/// @throws InvalidArgument where two of them have one name; Unsupported where this library was
/// built without prometheus-cpp.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// const Snapshot now[] = {snapshot_of(layout, "chat")};
/// std::cout << "Content-Type: " << kMetricsContentType << "\n\n" << metrics_text(now);
/// @endcode
[[nodiscard]] std::string metrics_text(std::span<const Snapshot> snapshots);

}  // namespace tapedeck::inline TAPEDECK_ABI
